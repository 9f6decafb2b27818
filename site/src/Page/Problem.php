<?php

declare(strict_types=1);

namespace Enjambre\Site\Page;

use Enjambre\Site\Response;
use Enjambre\Site\Site;
use Throwable;

/**
 * The answers that nobody hoped for.
 */
final class Problem
{
    public function __construct(private readonly Site $site)
    {
    }

    /** Many robots ask for what is not there: caches may keep the answer for a moment. */
    public function notFound(): Response
    {
        $response = $this->page(404, 'Nothing lives in this cell', 'There is no page under this address.');
        return $this->site->session()->exists() ? $response : $response->cacheable(10, ['site', '4xx-response']);
    }

    public function forbidden(string $why): Response
    {
        return $this->page(403, 'Not like this', $why);
    }

    public function unusable(string $why): Response
    {
        return $this->page(422, 'That does not fit', $why);
    }

    /** @param list<string> $methods */
    public function notAllowed(array $methods): Response
    {
        if (in_array('GET', $methods, true)) {
            $methods[] = 'HEAD';
        }
        return Response::text("405 Method Not Allowed\n", 405)->with('Allow', implode(', ', array_unique($methods)));
    }

    /** The page may not need what just broke: it asks for no session and no database. */
    public function failed(Throwable $error): Response
    {
        while (ob_get_level() > 0) {
            ob_end_clean();
        }
        return Response::html($this->site->template()->part('failed', [
            'stylesheet' => $this->site->stylesheet()->url(),
            'kind' => $error::class,
        ]), 500);
    }

    private function page(int $status, string $title, string $text): Response
    {
        $values = ['status' => $status, 'title' => $title, 'text' => $text];
        return Response::html($this->site->template()->page('problem', $title, $values), $status);
    }
}
