<?php

declare(strict_types=1);

namespace Enjambre\Site;

/**
 * What must not be lost with a cache: a sure store, with a fast one in front that forgets soon.
 */
final class LayeredStore implements KeyValue
{
    /** How long a fast server that was away may hold on to what has changed meanwhile. */
    private const SECONDS = 60;

    public function __construct(private readonly KeyValue $fast, private readonly KeyValue $sure)
    {
    }

    public function get(string $name): ?string
    {
        $value = $this->fast->get($name);
        if ($value === null) {
            $value = $this->sure->get($name);
            if ($value !== null) {
                $this->fast->set($name, $value, self::SECONDS);
            }
        }
        return $value;
    }

    public function set(string $name, string $value, int $seconds): void
    {
        $this->sure->set($name, $value, $seconds);
        $this->fast->set($name, $value, min($seconds, self::SECONDS));
    }

    public function delete(string $name): void
    {
        $this->sure->delete($name);
        $this->fast->delete($name);
    }
}
