<?php

declare(strict_types=1);

namespace Enjambre\Site;

use RuntimeException;

/**
 * The folder of the SQLite file, outside the document root: SITE_DATA, or a private one among the temporary files.
 */
final class DataFolder
{
    private function __construct(private readonly string $folder)
    {
    }

    public static function for(string $docroot): self
    {
        $given = Environment::get('SITE_DATA');
        $folder = $given ?? self::temporary($docroot);
        if (!is_dir($folder) && !@mkdir($folder, 0700, true) && !is_dir($folder)) {
            throw new RuntimeException("cannot create the data folder $folder");
        }
        // Somebody else may have put a folder of that name into /tmp before us.
        if ($given === null && fileowner($folder) !== self::user()) {
            throw new RuntimeException("the data folder $folder belongs to another user; set SITE_DATA");
        }
        return new self($folder);
    }

    public function path(string $name): string
    {
        return "$this->folder/$name";
    }

    private static function temporary(string $docroot): string
    {
        return sys_get_temp_dir() . '/enjambre-site-' . substr(hash('sha256', $docroot), 0, 12) . '-' . self::user();
    }

    private static function user(): int
    {
        return function_exists('posix_geteuid') ? posix_geteuid() : (int) getmyuid();
    }
}
