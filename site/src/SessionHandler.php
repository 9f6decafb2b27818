<?php

declare(strict_types=1);

namespace Enjambre\Site;

use SessionHandlerInterface;
use SessionIdInterface;
use SessionUpdateTimestampHandlerInterface;

/**
 * PHP's sessions over a key–value store.
 */
final class SessionHandler implements SessionHandlerInterface, SessionIdInterface, SessionUpdateTimestampHandlerInterface
{
    public function __construct(private readonly KeyValue $store, private readonly int $seconds)
    {
    }

    public function open(string $path, string $name): bool
    {
        return true;
    }

    public function close(): bool
    {
        return true;
    }

    public function create_sid(): string
    {
        return bin2hex(random_bytes(24));
    }

    public function validateId(string $id): bool
    {
        return $this->store->get("session:$id") !== null;
    }

    public function read(string $id): string
    {
        return $this->store->get("session:$id") ?? '';
    }

    public function write(string $id, string $data): bool
    {
        $this->store->set("session:$id", $data, $this->seconds);
        return true;
    }

    public function updateTimestamp(string $id, string $data): bool
    {
        return $this->write($id, $data);
    }

    public function destroy(string $id): bool
    {
        $this->store->delete("session:$id");
        return true;
    }

    public function gc(int $max_lifetime): int
    {
        return 0; // The store forgets by itself.
    }
}
