<?php

declare(strict_types=1);

namespace Enjambre\Site;

/**
 * A setting that the gateway (as a FastCGI parameter) or the container (as an environment variable) gives.
 * No client can forge one: request headers arrive as HTTP_*.
 */
final class Environment
{
    public static function get(string $name): ?string
    {
        $value = $_SERVER[$name] ?? getenv($name);
        return is_string($value) && $value !== '' ? $value : null;
    }

    /** What is not to stand in the environment: NAME, the file that NAME_FILE names, or /run/secrets/name. */
    public static function secret(string $name): ?string
    {
        $file = self::get($name . '_FILE') ?? '/run/secrets/' . strtolower($name);
        $given = self::get($name);
        return $given ?? (is_readable($file) ? rtrim((string) file_get_contents($file), "\r\n") : null);
    }
}
