<?php

declare(strict_types=1);

namespace Enjambre\Site;

/**
 * Where sessions live.
 */
interface KeyValue
{
    public function get(string $name): ?string;

    public function set(string $name, string $value, int $seconds): void;

    public function delete(string $name): void;
}
