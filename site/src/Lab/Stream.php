<?php

declare(strict_types=1);

namespace Enjambre\Site\Lab;

use Enjambre\Site\Request;
use Enjambre\Site\Response;

/**
 * `/stream?chunks=8&ms=250` sends a line every 250 ms, each flushed on its own.
 */
final class Stream
{
    public function answer(Request $request): Response
    {
        $chunks = $request->number('chunks', 8, 1, 1000);
        $ms = $request->number('ms', 250, 0, 10_000);
        return Response::stream('text/plain; charset=utf-8', static function () use ($chunks, $ms): void {
            for ($chunk = 1; $chunk <= $chunks; $chunk++) {
                printf("chunk %d of %d at %.3f\n", $chunk, $chunks, microtime(true));
                flush();
                if ($chunk < $chunks) {
                    usleep($ms * 1000);
                }
            }
        });
    }
}
