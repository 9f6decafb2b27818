<?php

declare(strict_types=1);

namespace Enjambre\Site;

use RuntimeException;

/**
 * Where MariaDB is: DATABASE_URL is `mysql://user:password@host:port/name` (or `?socket=/path`), or DB_NAME, DB_USER,
 * DB_PASSWORD and DB_NODES say it, as compose/settings.enjambre.php has it. GALERA_WRITER, the `host:port` of the node
 * that takes writes now, replaces the host, since the gateway knows better.
 */
final class DatabaseAddress
{
    private function __construct(
        public readonly string $host,
        public readonly int $port,
        public readonly ?string $socket,
        public readonly string $user,
        public readonly string $password,
        public readonly string $name,
    ) {
    }

    public static function fromEnvironment(): ?self
    {
        $url = Environment::get('DATABASE_URL');
        $writer = Environment::get('GALERA_WRITER');
        if ($url === null && $writer === null && Environment::get('DB_NAME') === null) {
            return null;
        }
        $parts = $url === null ? self::variables() : self::parse($url);
        $writerParts = $writer === null ? [] : self::parse(str_contains($writer, '://') ? $writer : "mysql://$writer");
        parse_str($parts['query'] ?? '', $query);
        return new self(
            host: $writerParts['host'] ?? $parts['host'] ?? '127.0.0.1',
            port: (int) ($writerParts['port'] ?? ($writerParts === [] ? $parts['port'] ?? 3306 : 3306)),
            socket: $writerParts === [] && is_string($query['socket'] ?? null) ? $query['socket'] : null,
            user: rawurldecode($parts['user'] ?? 'enjambre'),
            password: rawurldecode($parts['pass'] ?? ''),
            name: rawurldecode(ltrim($parts['path'] ?? '', '/')) ?: 'enjambre',
        );
    }

    public function dsn(): string
    {
        $place = $this->socket !== null ? "unix_socket=$this->socket" : "host=$this->host;port=$this->port";
        return "mysql:$place;dbname=$this->name;charset=utf8mb4";
    }

    /** @return array<string, string|int> */
    private static function variables(): array
    {
        [$node] = explode(',', Environment::get('DB_NODES') ?? '127.0.0.1:3306');
        return [
            'user' => rawurlencode(Environment::get('DB_USER') ?? 'enjambre'),
            'pass' => rawurlencode(Environment::secret('DB_PASSWORD') ?? 'enjambre'),
            'path' => rawurlencode(Environment::get('DB_NAME') ?? 'enjambre'),
        ] + self::parse("mysql://$node");
    }

    /** @return array<string, string|int> */
    private static function parse(string $url): array
    {
        $parts = parse_url($url);
        if ($parts === false || !in_array($parts['scheme'] ?? '', ['mysql', 'mariadb'], true)) {
            throw new RuntimeException('a database address must be like mysql://user:password@host:3306/name');
        }
        return $parts;
    }
}
