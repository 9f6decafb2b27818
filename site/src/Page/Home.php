<?php

declare(strict_types=1);

namespace Enjambre\Site\Page;

use Enjambre\Site\Request;
use Enjambre\Site\Response;
use Enjambre\Site\Site;

/**
 * The front page: what Enjambre is, live.
 */
final class Home
{
    public function __construct(private readonly Site $site)
    {
    }

    public function show(Request $request): Response
    {
        $render = fn (array $articles): string => $this->site->template()->page('home', 'Enjambre', [
            'articles' => array_slice($articles, 0, 3),
        ]);
        return (new Shared($this->site))->page('article_list', $this->site->articles()->all(), $render);
    }
}
