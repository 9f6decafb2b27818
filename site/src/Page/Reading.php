<?php

declare(strict_types=1);

namespace Enjambre\Site\Page;

use Enjambre\Site\Request;
use Enjambre\Site\Response;
use Enjambre\Site\Site;

/**
 * The articles: their list, and each one with its comments.
 */
final class Reading
{
    public function __construct(private readonly Site $site)
    {
    }

    public function list(Request $request): Response
    {
        return (new Shared($this->site))->page(
            'article_list',
            $this->site->articles()->all(),
            fn (array $articles): string => $this->site->template()->page('articles', 'Articles', ['articles' => $articles]),
        );
    }

    public function show(Request $request, string $slug): Response
    {
        $article = $this->site->articles()->find($slug);
        if ($article === null) {
            return (new Problem($this->site))->notFound();
        }
        $comments = $this->site->articles()->comments((int) $article['id']);
        $form = $this->site->session()->exists() ? ['token' => $this->site->token()->make("comment:$slug")] : null;
        $render = fn (): string => $this->site->template()->page('article', $article['title'], [
            'article' => $article,
            'comments' => $comments,
            'form' => $form,
        ]);
        return (new Shared($this->site))->page('article', [$article + ['comments' => count($comments)]], $render);
    }
}
