<?php

declare(strict_types=1);

namespace Enjambre\Site;

/**
 * Articles and what readers say about them.
 */
final class Articles
{
    public function __construct(private readonly Database $database)
    {
    }

    /** @return list<array<string, mixed>> newest first, without their bodies */
    public function all(): array
    {
        return $this->database->rows(
            'SELECT id, slug, title, summary, changed,'
            . ' (SELECT COUNT(*) FROM comments WHERE article = articles.id) AS comments FROM articles ORDER BY id',
        );
    }

    /** @return array<string, mixed>|null */
    public function find(string $slug): ?array
    {
        return $this->database->row('SELECT * FROM articles WHERE slug = ?', [$slug]);
    }

    /** @return list<array<string, mixed>> */
    public function comments(int $article): array
    {
        return $this->database->rows('SELECT * FROM comments WHERE article = ? ORDER BY id', [$article]);
    }

    public function comment(int $article, string $author, string $body): int
    {
        $now = time();
        $this->database->run(
            'INSERT INTO comments (article, author, body, created) VALUES (?, ?, ?, ?)',
            [$article, $author, $body, $now],
        );
        $id = $this->database->lastId();
        $this->database->run('UPDATE articles SET changed = ? WHERE id = ?', [$now, $article]);
        return $id;
    }
}
