<?php

declare(strict_types=1);

namespace Enjambre\Site\Page;

use Enjambre\Site\Request;
use Enjambre\Site\Response;
use Enjambre\Site\Site;

/**
 * The page with a button for everything that is hard for a front end: slow, streamed, large, broken.
 */
final class Laboratory
{
    public function __construct(private readonly Site $site)
    {
    }

    public function show(Request $request): Response
    {
        return (new Shared($this->site))->page(
            'lab',
            [],
            fn (): string => $this->site->template()->page('lab', 'Laboratory'),
        );
    }
}
