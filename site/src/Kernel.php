<?php

declare(strict_types=1);

namespace Enjambre\Site;

use Throwable;

/**
 * The life of one request:
 *
 * 1. The router finds the page that answers the path, or 404, or 405.
 * 2. The page answers with a Response; its body may be a closure that has not run yet.
 * 3. A validator that the client already holds turns the Response into a 304, before any rendering.
 * 4. The Response is sent, whole or in chunks.
 * 5. What the page left for afterwards runs once the client has its answer.
 */
final class Kernel
{
    public function __construct(private readonly string $docroot)
    {
    }

    public function handle(Request $request): void
    {
        $site = new Site($this->docroot, $request);
        try {
            $response = (new Router($site))->answer($request);
        } catch (Throwable $error) {
            error_log((string) $error);
            $response = (new Page\Problem($site))->failed($error);
        }
        $response->unlessHeldBy($request)->send($request);
    }
}
