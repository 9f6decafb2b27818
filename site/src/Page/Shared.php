<?php

declare(strict_types=1);

namespace Enjambre\Site\Page;

use Closure;
use Enjambre\Site\Response;
use Enjambre\Site\Site;

/**
 * A page over some rows: the same for every anonymous visitor, so that caches may keep it, and private for
 * a visitor with a session, whose name stands at its top.
 */
final class Shared
{
    /** Long enough to see hits, short enough that a new comment shows up while one still looks. */
    private const SECONDS = 60;

    public function __construct(private readonly Site $site)
    {
    }

    /**
     * @param list<array<string, mixed>> $rows with `id`, `changed` and `comments`
     * @param Closure(list<array<string, mixed>>): string $render
     */
    public function page(string $tag, array $rows, Closure $render): Response
    {
        $response = Response::html(fn (): string => $render($rows));
        if ($this->site->session()->exists()) {
            return $response;
        }
        $versions = array_map(static fn (array $row): string => "$row[id]@$row[changed]+$row[comments]", $rows);
        $tags = array_map(static fn (array $row): string => "article:$row[id]", $rows);
        $built = $this->site->template()->changed();
        $changed = max([$built, ...array_map('intval', array_column($rows, 'changed'))]);
        return $response
            ->cacheable(self::SECONDS, ['site', $tag, ...$tags])
            ->validatedBy("$built {$this->site->stylesheet()->version()} " . implode(' ', $versions), $changed);
    }
}
