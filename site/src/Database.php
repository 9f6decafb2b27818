<?php

declare(strict_types=1);

namespace Enjambre\Site;

use PDO;
use PDOException;
use PDOStatement;
use RuntimeException;

/**
 * One connection, to MariaDB when DATABASE_URL or GALERA_WRITER is given and to an SQLite file otherwise.
 * The SQL of this site is what both understand.
 */
final class Database
{
    private function __construct(private readonly PDO $pdo, public readonly string $kind)
    {
    }

    /** Connects; the first request on an empty database makes and fills the tables. */
    public static function open(string $docroot): self
    {
        $remote = DatabaseAddress::fromEnvironment();
        $database = $remote !== null ? self::connect($remote) : self::file(DataFolder::for($docroot));
        if (!$database->isCurrent()) {
            (new Migration($database, dirname($docroot) . '/content'))->run(DataFolder::for($docroot));
        }
        return $database;
    }

    private static function connect(DatabaseAddress $address): self
    {
        $pdo = new PDO($address->dsn(), $address->user, $address->password, [
            PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION,
            PDO::ATTR_TIMEOUT => 5,
        ]);
        return new self($pdo, 'mariadb');
    }

    private static function file(DataFolder $folder): self
    {
        $pdo = new PDO('sqlite:' . $folder->path('site.sqlite'), options: [
            PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION,
            // Writers queue for the file's lock for so long, in seconds.
            PDO::ATTR_TIMEOUT => 10,
        ]);
        $pdo->exec('PRAGMA synchronous = NORMAL');
        return new self($pdo, 'sqlite');
    }

    public function isCurrent(): bool
    {
        try {
            return $this->setting('schema') === Migration::VERSION;
        } catch (PDOException | RuntimeException) {
            return false;
        }
    }

    public function setting(string $name): string
    {
        $row = $this->row('SELECT value FROM settings WHERE name = ?', [$name]);
        return $row['value'] ?? throw new RuntimeException("the setting $name is missing");
    }

    /** @param list<string|int|float|null> $values */
    public function run(string $sql, array $values = []): PDOStatement
    {
        $statement = $this->pdo->prepare($sql);
        $statement->execute($values);
        return $statement;
    }

    /**
     * @param list<string|int|float|null> $values
     * @return array<string, mixed>|null
     */
    public function row(string $sql, array $values = []): ?array
    {
        $row = $this->run($sql, $values)->fetch(PDO::FETCH_ASSOC);
        return $row === false ? null : $row;
    }

    /**
     * @param list<string|int|float|null> $values
     * @return list<array<string, mixed>>
     */
    public function rows(string $sql, array $values = []): array
    {
        return $this->run($sql, $values)->fetchAll(PDO::FETCH_ASSOC);
    }

    public function lastId(): int
    {
        return (int) $this->pdo->lastInsertId();
    }

    public function version(): string
    {
        return (string) $this->pdo->getAttribute(PDO::ATTR_SERVER_VERSION);
    }
}
