<?php

declare(strict_types=1);

namespace Enjambre\Site;

/**
 * Paths to pages. A page is a method that takes the request and the parts of its path, and returns a Response.
 */
final class Router
{
    private const NAME = '([a-z0-9][a-z0-9-]{0,60})';

    public function __construct(private readonly Site $site)
    {
    }

    /** @return list<array{string, list<string>, class-string, string}> method, path, page, what it does */
    private static function routes(): array
    {
        return [
            ['/', ['GET'], Page\Home::class, 'show'],
            ['/articles', ['GET'], Page\Reading::class, 'list'],
            ['/articles/' . self::NAME, ['GET'], Page\Reading::class, 'show'],
            ['/articles/' . self::NAME . '/comments', ['POST'], Page\Commenting::class, 'add'],
            ['/login', ['GET'], Page\Account::class, 'form'],
            ['/login', ['POST'], Page\Account::class, 'login'],
            ['/logout', ['POST'], Page\Account::class, 'logout'],
            ['/me', ['GET'], Page\Account::class, 'show'],
            ['/lab', ['GET'], Page\Laboratory::class, 'show'],

            ['/slow', ['GET'], Lab\Slow::class, 'answer'],
            ['/finish', ['GET', 'POST'], Lab\Finish::class, 'answer'],
            ['/finish/status', ['GET'], Lab\Finish::class, 'status'],
            ['/stream', ['GET'], Lab\Stream::class, 'answer'],
            ['/upload', ['GET'], Lab\Upload::class, 'form'],
            ['/upload', ['POST'], Lab\Upload::class, 'receive'],
            ['/upload/raw', ['PUT', 'POST'], Lab\Upload::class, 'receiveRaw'],
            ['/download', ['GET'], Lab\Download::class, 'answer'],
            ['/error', ['GET', 'POST'], Lab\Failure::class, 'answer'],
            ['/whoami', ['GET', 'POST'], Lab\WhoAmI::class, 'answer'],
            ['/health', ['GET'], Lab\Health::class, 'answer'],

            ['/files/styles/thumb/' . self::NAME . '\.png', ['GET'], Page\Generated::class, 'picture'],
            ['/files/css/css_([0-9a-f]{16})\.css', ['GET'], Page\Generated::class, 'stylesheet'],
        ];
    }

    public function answer(Request $request): Response
    {
        $allowed = [];
        foreach (self::routes() as [$pattern, $methods, $page, $action]) {
            if (preg_match("~^$pattern$~D", $request->path, $parts) !== 1) {
                continue;
            }
            $method = $request->method === 'HEAD' ? 'GET' : $request->method;
            if (in_array($method, $methods, true)) {
                return (new $page($this->site))->$action($request, ...array_slice($parts, 1));
            }
            $allowed = array_merge($allowed, $methods);
        }
        $problem = new Page\Problem($this->site);
        return $allowed === [] ? $problem->notFound() : $problem->notAllowed($allowed);
    }
}
