<?php

declare(strict_types=1);

namespace Enjambre\Site\Lab;

use Enjambre\Site\Request;
use Enjambre\Site\Response;
use Enjambre\Site\Site;

/**
 * `/finish?ms=700&token=x` answers at once and works on for 700 ms, as Symfony's kernel.terminate does; then
 * `/finish/status?token=x` says that it came to its end.
 */
final class Finish
{
    public function __construct(private readonly Site $site)
    {
    }

    public function answer(Request $request): Response
    {
        $ms = $request->number('ms', 700, 0, 60_000);
        $token = substr($request->query('token') ?: bin2hex(random_bytes(8)), 0, 60);
        $database = $this->site->database();
        $answered = microtime(true);
        return Response::json(['token' => $token, 'ms' => $ms, 'worker' => getmypid()])
            ->afterwards(static function () use ($database, $token, $ms, $answered): void {
                ignore_user_abort(true);
                usleep($ms * 1000);
                $database->run(
                    'REPLACE INTO finished (token, answered, finished, worker) VALUES (?, ?, ?, ?)',
                    [$token, $answered, microtime(true), getmypid()],
                );
            });
    }

    public function status(Request $request): Response
    {
        $token = $request->query('token');
        $row = $this->site->database()->row('SELECT * FROM finished WHERE token = ?', [$token]);
        return Response::json(['token' => $token, 'finished' => $row !== null] + ($row === null ? [] : [
            'after_ms' => (int) round(((float) $row['finished'] - (float) $row['answered']) * 1000),
            'worker' => (int) $row['worker'],
        ]));
    }
}
