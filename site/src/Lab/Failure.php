<?php

declare(strict_types=1);

namespace Enjambre\Site\Lab;

use Enjambre\Site\Request;
use Enjambre\Site\Response;
use RuntimeException;

/**
 * `/error` fails as an application does: with an exception that nobody expected.
 */
final class Failure
{
    public function answer(Request $request): Response
    {
        throw new RuntimeException('somebody asked for an error');
    }
}
