<?php

declare(strict_types=1);

namespace Enjambre\Site;

use Memcached;

/**
 * The shared tier: `host:port host:port` (or with commas) in MEMCACHED_SERVERS. Keys are spread by consistent
 * hashing, so that one server that comes or goes moves only its own share.
 */
final class MemcachedStore implements KeyValue
{
    private function __construct(private readonly Memcached $servers)
    {
    }

    public static function fromEnvironment(): ?self
    {
        $addresses = self::addresses();
        if ($addresses === [] || !class_exists(Memcached::class)) {
            return null;
        }
        $servers = new Memcached();
        $servers->setOptions([
            Memcached::OPT_LIBKETAMA_COMPATIBLE => true,
            Memcached::OPT_BINARY_PROTOCOL => true,
            Memcached::OPT_TCP_NODELAY => true,
            Memcached::OPT_CONNECT_TIMEOUT => 500,
        ]);
        foreach ($addresses as $address) {
            $colon = (int) strrpos($address, ':');
            $servers->addServer(trim(substr($address, 0, $colon), '[]'), (int) substr($address, $colon + 1));
        }
        return new self($servers);
    }

    /** @return list<string> */
    public static function addresses(): array
    {
        $words = preg_split('/[\s,]+/', Environment::get('MEMCACHED_SERVERS') ?? '', -1, PREG_SPLIT_NO_EMPTY) ?: [];
        return array_map(static fn (string $word): string => str_contains($word, ':') ? $word : "$word:11211", $words);
    }

    /** @return array<string, string> address to version, of the servers that answer */
    public function versions(): array
    {
        return array_filter($this->servers->getVersion() ?: [], static fn (string $version): bool => $version !== '255.255.255');
    }

    public function get(string $name): ?string
    {
        $value = $this->servers->get($name);
        return is_string($value) ? $value : null;
    }

    public function set(string $name, string $value, int $seconds): void
    {
        $this->servers->set($name, $value, $seconds);
    }

    public function delete(string $name): void
    {
        $this->servers->delete($name);
    }
}
