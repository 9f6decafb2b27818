<?php

declare(strict_types=1);

namespace Enjambre\Site\Lab;

use Enjambre\Site\Request;
use Enjambre\Site\Response;

/**
 * `/whoami`: what the chain tells PHP about this request.
 */
final class WhoAmI
{
    private const PARAMETERS = [
        'GATEWAY_INTERFACE', 'REQUEST_METHOD', 'REQUEST_URI', 'QUERY_STRING', 'REQUEST_SCHEME', 'HTTPS',
        'SCRIPT_NAME', 'SCRIPT_FILENAME', 'PATH_INFO', 'DOCUMENT_ROOT', 'DOCUMENT_URI',
        'REMOTE_ADDR', 'REMOTE_PORT', 'SERVER_ADDR', 'SERVER_PORT', 'SERVER_NAME', 'SERVER_PROTOCOL',
        'SERVER_SOFTWARE', 'CONTENT_TYPE', 'CONTENT_LENGTH', 'GALERA_WRITER', 'GALERA_READERS', 'MEMCACHED_SERVERS',
    ];

    public function answer(Request $request): Response
    {
        $parameters = [];
        foreach (self::PARAMETERS as $name) {
            $parameters[$name] = $request->server($name);
        }
        $headers = array_filter($_SERVER, static fn (string $name): bool => str_starts_with($name, 'HTTP_'), ARRAY_FILTER_USE_KEY);
        ksort($headers);
        return Response::json([
            'worker' => getmypid(),
            'parameters' => array_filter($parameters, static fn (?string $value): bool => $value !== null),
            'headers' => (object) $headers,
            'form' => (object) $_POST,
        ]);
    }
}
