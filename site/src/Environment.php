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

    /** NAME, or what is in the file that NAME_FILE names, or in /run/secrets/name in lower case. */
    public static function secret(string $name): ?string
    {
        $value = self::get($name);
        $file = self::get($name . '_FILE') ?? '/run/secrets/' . strtolower($name);
        if ($value === null && is_readable($file)) {
            $value = rtrim((string) file_get_contents($file), "\r\n");
        }
        return $value === '' ? null : $value;
    }
}
