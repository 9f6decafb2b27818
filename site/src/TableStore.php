<?php

declare(strict_types=1);

namespace Enjambre\Site;

/**
 * The same without memcached: one table.
 */
final class TableStore implements KeyValue
{
    public function __construct(private readonly Database $database)
    {
    }

    public function get(string $name): ?string
    {
        $row = $this->database->row('SELECT value FROM pairs WHERE name = ? AND expires > ?', [$name, time()]);
        return $row === null ? null : (string) $row['value'];
    }

    public function set(string $name, string $value, int $seconds): void
    {
        $this->database->run(
            'REPLACE INTO pairs (name, value, expires) VALUES (?, ?, ?)',
            [$name, $value, time() + $seconds],
        );
        if (random_int(1, 100) === 1) {
            $this->database->run('DELETE FROM pairs WHERE expires <= ?', [time()]);
        }
    }

    public function delete(string $name): void
    {
        $this->database->run('DELETE FROM pairs WHERE name = ?', [$name]);
    }
}
