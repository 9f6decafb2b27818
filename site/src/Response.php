<?php

declare(strict_types=1);

namespace Enjambre\Site;

use Closure;

/**
 * An answer. Its body is a string, or a closure that returns one (rendering can then be skipped for a 304),
 * or a closure that echoes and flushes by itself (a stream).
 */
final class Response
{
    private const PRIVATE = 'private, no-store';

    /** @var array<string, string> */
    private array $headers = [];
    private ?Closure $afterwards = null;
    private bool $streamed = false;

    public function __construct(private int $status, private string|Closure $body)
    {
        $this->headers['Cache-Control'] = self::PRIVATE;
        $this->headers['X-Content-Type-Options'] = 'nosniff';
    }

    /** A page; nothing but this site's own files may run or load in it. */
    public static function html(string|Closure $body, int $status = 200): self
    {
        return (new self($status, $body))
            ->with('Content-Type', 'text/html; charset=utf-8')
            ->with('Content-Security-Policy', "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'")
            ->with('Referrer-Policy', 'same-origin');
    }

    public static function json(mixed $value, int $status = 200): self
    {
        $flags = JSON_THROW_ON_ERROR | JSON_PRETTY_PRINT | JSON_UNESCAPED_SLASHES | JSON_INVALID_UTF8_SUBSTITUTE;
        return (new self($status, json_encode($value, $flags) . "\n"))->with('Content-Type', 'application/json');
    }

    public static function text(string $body, int $status = 200): self
    {
        return (new self($status, $body))->with('Content-Type', 'text/plain; charset=utf-8');
    }

    /** 303: the browser goes on with GET, so that reloading does not send the form again. */
    public static function seeOther(string $path): self
    {
        return (new self(303, ''))->with('Location', $path);
    }

    /** The closure echoes; what it flushes is on its way to the client. */
    public static function stream(string $type, Closure $body): self
    {
        $response = (new self(200, $body))->with('Content-Type', $type)->with('X-Accel-Buffering', 'no');
        $response->streamed = true;
        return $response;
    }

    public function with(string $name, string $value): self
    {
        $this->headers[$name] = $value;
        return $this;
    }

    /**
     * Lets shared caches keep the answer for $seconds; a browser asks again each time and is answered 304 by
     * whoever has it. s-maxage forbids to serve it stale (RFC 9111 section 5.2.2.10): caches that know RFC 9213 are
     * told that an old page is better than an error. The answer to a visitor with a session is another one, hence Vary.
     *
     * @param list<string> $tags
     */
    public function cacheable(int $seconds, array $tags): self
    {
        return $this
            ->with('Cache-Control', "public, max-age=0, s-maxage=$seconds")
            ->with('CDN-Cache-Control', "public, max-age=$seconds, stale-if-error=86400")
            ->with('Vary', 'Cookie')
            ->with('Cache-Tags', implode(' ', $tags));
    }

    /** For what never changes under its URL. */
    public function immutable(): self
    {
        return $this->with('Cache-Control', 'public, max-age=31536000, immutable');
    }

    /**
     * The tag is weak (RFC 9110 section 8.8.1): two renderings differ in the moment that they show, not in meaning.
     */
    public function validatedBy(string $version, int $modified): self
    {
        return $this
            ->with('ETag', 'W/"' . substr(hash('sha256', $version), 0, 16) . '"')
            ->with('Last-Modified', gmdate('D, d M Y H:i:s', $modified) . ' GMT');
    }

    /** Runs $work after the client has its whole answer, while the worker is still busy. */
    public function afterwards(Closure $work): self
    {
        $this->afterwards = $work;
        return $this;
    }

    /** 304 when the request's validators match (RFC 9110 section 13.2.2: If-None-Match decides alone). */
    public function unlessHeldBy(Request $request): self
    {
        if ($this->status !== 200 || !in_array($request->method, ['GET', 'HEAD'], true)) {
            return $this;
        }
        if ($this->isHeldBy($request)) {
            // Content-Type stays: PHP would add its default, and a cache updates what it stored from a 304.
            $this->status = 304;
            $this->body = '';
        }
        return $this;
    }

    private function isHeldBy(Request $request): bool
    {
        $held = $request->header('If-None-Match');
        if ($held !== null) {
            $etag = $this->headers['ETag'] ?? null;
            $bare = static fn (string $tag): string => preg_replace('/^W\//', '', trim($tag)) ?? '';
            return $etag !== null
                && (trim($held) === '*' || in_array($bare($etag), array_map($bare, explode(',', $held)), true));
        }
        $since = strtotime($request->header('If-Modified-Since') ?? '');
        $modified = strtotime($this->headers['Last-Modified'] ?? '');
        return $since !== false && $modified !== false && $modified <= $since;
    }

    public function send(Request $request): void
    {
        // Not before: rendering may start a session, and with it a cookie.
        $body = $this->streamed || is_string($this->body) ? $this->body : ($this->body)();
        header_remove('X-Powered-By');
        http_response_code($this->status);
        foreach ($this->headers as $name => $value) {
            header("$name: $value");
        }
        if ($request->method === 'HEAD') {
            $body = '';
        }
        if ($body instanceof Closure) {
            while (ob_get_level() > 0) {
                ob_end_clean();
            }
            $body();
        } else {
            echo $body;
        }
        if ($this->afterwards !== null) {
            self::finish();
            ($this->afterwards)();
        }
    }

    private static function finish(): void
    {
        if (function_exists('fastcgi_finish_request')) {
            fastcgi_finish_request();
        } else {
            flush();
        }
    }
}
