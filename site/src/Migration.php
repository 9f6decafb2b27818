<?php

declare(strict_types=1);

namespace Enjambre\Site;

use PDOException;

/**
 * Makes the tables and fills them. Safe when several requests on several machines meet an empty database:
 * every statement can be repeated, the rows have fixed keys, and the version is written last.
 */
final class Migration
{
    public const VERSION = '1';

    private const TABLES = [
        'settings (name VARCHAR(60) PRIMARY KEY, value VARCHAR(255) NOT NULL)',
        'users (id INTEGER PRIMARY KEY, name VARCHAR(60) NOT NULL UNIQUE, password VARCHAR(255) NOT NULL)',
        'articles (id INTEGER PRIMARY KEY, slug VARCHAR(60) NOT NULL UNIQUE, title VARCHAR(200) NOT NULL,'
            . ' summary TEXT NOT NULL, body TEXT NOT NULL, changed BIGINT NOT NULL)',
        'comments ({id}, article INTEGER NOT NULL, author VARCHAR(60) NOT NULL, body TEXT NOT NULL,'
            . ' created BIGINT NOT NULL)',
        'finished (token VARCHAR(60) PRIMARY KEY, answered DOUBLE NOT NULL, finished DOUBLE NOT NULL,'
            . ' worker INTEGER NOT NULL)',
        'pairs (name VARCHAR(190) PRIMARY KEY, value {blob} NOT NULL, expires BIGINT NOT NULL)',
    ];

    public function __construct(private readonly Database $database, private readonly string $content)
    {
    }

    public function run(DataFolder $folder): void
    {
        // Workers of one machine take turns: SQLite changes its journal only for a connection that is alone.
        $turn = fopen($folder->path('migration.lock'), 'c');
        flock($turn, LOCK_EX);
        try {
            for ($attempt = 1; !$this->database->isCurrent(); $attempt++) {
                try {
                    $this->apply();
                } catch (PDOException $error) {
                    // A deadlock or a certification conflict with another machine's migration.
                    if ($attempt === 5 || $this->database->kind === 'sqlite') {
                        throw $error;
                    }
                    usleep(50_000 * $attempt);
                }
            }
        } finally {
            fclose($turn);
        }
    }

    private function apply(): void
    {
        $mariadb = $this->database->kind === 'mariadb';
        if (!$mariadb) {
            $this->database->run('PRAGMA journal_mode = WAL');
        }
        $words = $mariadb
            ? ['{id}' => 'id INTEGER PRIMARY KEY AUTO_INCREMENT', '{blob}' => 'MEDIUMBLOB']
            : ['{id}' => 'id INTEGER PRIMARY KEY AUTOINCREMENT', '{blob}' => 'BLOB'];
        $options = $mariadb ? ' ENGINE=InnoDB DEFAULT CHARSET=utf8mb4' : '';
        foreach (self::TABLES as $table) {
            $this->database->run('CREATE TABLE IF NOT EXISTS ' . strtr($table, $words) . $options);
        }
        $insert = $mariadb ? 'INSERT IGNORE' : 'INSERT OR IGNORE';
        foreach ($this->articles() as $id => $article) {
            $this->database->run(
                "$insert INTO articles (id, slug, title, summary, body, changed) VALUES (?, ?, ?, ?, ?, ?)",
                [$id, ...$article],
            );
        }
        $this->database->run(
            "$insert INTO users (id, name, password) VALUES (1, ?, ?)",
            ['demo', password_hash('demo', PASSWORD_BCRYPT)],
        );
        $this->database->run("$insert INTO settings (name, value) VALUES ('secret', ?)", [bin2hex(random_bytes(32))]);
        $this->database->run("$insert INTO settings (name, value) VALUES ('schema', ?)", [self::VERSION]);
    }

    /**
     * content/1-some-slug.html: the first line is the title, the second the date, the third the summary.
     *
     * @return array<int, array{string, string, string, string, int}>
     */
    private function articles(): array
    {
        $articles = [];
        foreach (glob("$this->content/*.html") ?: [] as $file) {
            [$id, $slug] = explode('-', basename($file, '.html'), 2);
            [$title, $date, $summary, $body] = explode("\n", (string) file_get_contents($file), 4);
            $articles[(int) $id] = [$slug, $title, $summary, trim($body), (int) strtotime("$date UTC")];
        }
        return $articles;
    }
}
