<?php

declare(strict_types=1);

namespace Enjambre\Site\Page;

use Enjambre\Site\Picture;
use Enjambre\Site\PublicFiles;
use Enjambre\Site\Request;
use Enjambre\Site\Response;
use Enjambre\Site\Site;

/**
 * Files that do not exist until they are first asked for. They are written under the document root, so that from
 * then on the web server finds them; where it cannot be written, they are made each time.
 */
final class Generated
{
    public function __construct(private readonly Site $site)
    {
    }

    public function picture(Request $request, string $name): Response
    {
        if ($this->site->articles()->find($name) === null) {
            return (new Problem($this->site))->notFound();
        }
        return $this->answer($request->path, 'image/png', (new Picture($name))->png());
    }

    public function stylesheet(Request $request, string $version): Response
    {
        if ($version !== $this->site->stylesheet()->version()) {
            return (new Problem($this->site))->notFound();
        }
        return $this->answer($request->path, 'text/css; charset=utf-8', $this->site->stylesheet()->content());
    }

    private function answer(string $path, string $type, string $content): Response
    {
        $kept = (new PublicFiles($this->site->docroot))->keep($path, $content);
        return (new Response(200, $content))
            ->with('Content-Type', $type)
            ->with('X-Generated', $kept ? 'stored' : 'transient')
            ->immutable()
            ->validatedBy($content, time());
    }
}
