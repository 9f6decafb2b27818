<?php

declare(strict_types=1);

namespace Enjambre\Site\Page;

use Enjambre\Site\Request;
use Enjambre\Site\Response;
use Enjambre\Site\Site;

/**
 * A comment from somebody who has logged in.
 */
final class Commenting
{
    private const LONGEST = 2000;

    public function __construct(private readonly Site $site)
    {
    }

    public function add(Request $request, string $slug): Response
    {
        $user = $this->site->session()->user();
        if ($user === null) {
            return Response::seeOther('/login');
        }
        $article = $this->site->articles()->find($slug);
        if ($article === null) {
            return (new Problem($this->site))->notFound();
        }
        if (!$this->site->token()->accepts($request->field('token'), "comment:$slug")) {
            return (new Problem($this->site))->forbidden('This form is too old, or did not come from this site.');
        }
        $text = $request->field('comment');
        // Without mbstring: characters are what does not continue a UTF-8 sequence.
        $length = preg_match_all('/[^\x80-\xBF]/', $text);
        if ($text === '' || $length > self::LONGEST || preg_match('//u', $text) !== 1) {
            return (new Problem($this->site))->unusable('A comment has between 1 and ' . self::LONGEST . ' characters.');
        }
        $id = $this->site->articles()->comment((int) $article['id'], $user, $text);
        return Response::seeOther("/articles/$slug#comment-$id");
    }
}
