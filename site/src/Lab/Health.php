<?php

declare(strict_types=1);

namespace Enjambre\Site\Lab;

use Enjambre\Site\MemcachedStore;
use Enjambre\Site\Request;
use Enjambre\Site\Response;
use Enjambre\Site\Site;

/**
 * `/health`: which database and which memcached this site works with.
 */
final class Health
{
    public function __construct(private readonly Site $site)
    {
    }

    public function answer(Request $request): Response
    {
        $database = $this->site->database();
        $memcached = MemcachedStore::fromEnvironment();
        return Response::json([
            'database' => ['kind' => $database->kind, 'version' => $database->version()],
            'sessions' => $memcached === null ? 'database' : 'memcached',
            'memcached' => [
                'servers' => MemcachedStore::addresses(),
                'answering' => (object) ($memcached?->versions() ?? []),
            ],
            'php' => ['version' => PHP_VERSION, 'sapi' => PHP_SAPI, 'worker' => getmypid()],
        ]);
    }
}
