<?php

declare(strict_types=1);

namespace Enjambre\Site;

/**
 * What the client asks for, read once from PHP's globals.
 */
final class Request
{
    /**
     * @param array<string, mixed> $server
     * @param array<string, mixed> $query
     * @param array<string, mixed> $form
     * @param array<string, mixed> $cookies
     */
    public function __construct(
        public readonly string $method,
        public readonly string $path,
        private readonly array $server,
        private readonly array $query,
        private readonly array $form,
        private readonly array $cookies,
    ) {
    }

    public static function fromGlobals(): self
    {
        $target = (string) ($_SERVER['REQUEST_URI'] ?? '/');
        $path = rawurldecode(explode('?', $target, 2)[0]);
        return new self((string) $_SERVER['REQUEST_METHOD'], $path, $_SERVER, $_GET, $_POST, $_COOKIE);
    }

    public function query(string $name, string $default = ''): string
    {
        return is_string($this->query[$name] ?? null) ? $this->query[$name] : $default;
    }

    /** A number from the query, moved into its range. */
    public function number(string $name, int $default, int $least, int $most): int
    {
        $value = $this->query($name);
        return ctype_digit($value) ? max($least, min($most, (int) $value)) : $default;
    }

    public function field(string $name): string
    {
        return is_string($this->form[$name] ?? null) ? trim($this->form[$name]) : '';
    }

    public function cookie(string $name): ?string
    {
        return is_string($this->cookies[$name] ?? null) ? $this->cookies[$name] : null;
    }

    /** A request header by its HTTP name. */
    public function header(string $name): ?string
    {
        $value = $this->server['HTTP_' . strtr(strtoupper($name), '-', '_')] ?? null;
        return is_string($value) ? $value : null;
    }

    /** A CGI parameter. */
    public function server(string $name): ?string
    {
        $value = $this->server[$name] ?? null;
        return is_scalar($value) ? (string) $value : null;
    }

    public function isHttps(): bool
    {
        return !in_array(strtolower($this->server('HTTPS') ?? ''), ['', 'off'], true);
    }

    public function host(): string
    {
        return $this->server('HTTP_HOST') ?? $this->server('SERVER_NAME') ?? 'localhost';
    }
}
