<?php

declare(strict_types=1);

namespace Enjambre\Site;

/**
 * What the pages share. Each part is made when it is first used: a page that needs no database opens none.
 */
final class Site
{
    public readonly float $startedAt;
    private ?Database $database = null;
    private ?KeyValue $cache = null;
    private ?Session $session = null;

    public function __construct(public readonly string $docroot, public readonly Request $request)
    {
        $this->startedAt = (float) ($_SERVER['REQUEST_TIME_FLOAT'] ?? microtime(true));
    }

    public function database(): Database
    {
        return $this->database ??= Database::open($this->docroot);
    }

    /** A table of the database, with memcached in front when MEMCACHED_SERVERS is given. */
    public function cache(): KeyValue
    {
        if ($this->cache === null) {
            $memcached = MemcachedStore::fromEnvironment();
            $table = new TableStore($this->database());
            $this->cache = $memcached === null ? $table : new LayeredStore($memcached, $table);
        }
        return $this->cache;
    }

    public function session(): Session
    {
        return $this->session ??= new Session($this->request, $this->cache());
    }

    public function articles(): Articles
    {
        return new Articles($this->database());
    }

    public function token(): Token
    {
        return new Token($this->database()->setting('secret'), $this->session()->id());
    }

    public function stylesheet(): Stylesheet
    {
        return new Stylesheet(dirname($this->docroot) . '/styles');
    }

    public function template(): Template
    {
        return new Template($this, dirname($this->docroot) . '/templates');
    }
}
