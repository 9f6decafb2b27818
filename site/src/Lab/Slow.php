<?php

declare(strict_types=1);

namespace Enjambre\Site\Lab;

use Enjambre\Site\Request;
use Enjambre\Site\Response;

/**
 * `/slow?ms=500` answers late; with `&cache=30` shared caches may keep it for 30 seconds, under the tags of
 * `&tags=a,b`.
 */
final class Slow
{
    public function answer(Request $request): Response
    {
        $ms = $request->number('ms', 500, 0, 60_000);
        $cache = $request->number('cache', 0, 0, 86_400);
        usleep($ms * 1000);
        $response = Response::text(sprintf("slept %d ms in worker %d, done at %.3f\n", $ms, getmypid(), microtime(true)));
        if ($cache === 0) {
            return $response;
        }
        $tags = preg_split('/[^\w:.-]+/', $request->query('tags'), -1, PREG_SPLIT_NO_EMPTY) ?: [];
        return $response->cacheable($cache, ['slow', ...$tags]);
    }
}
