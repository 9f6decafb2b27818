<?php

declare(strict_types=1);

namespace Enjambre\Site;

/**
 * Files that the site writes under its document root, for the web server to find.
 */
final class PublicFiles
{
    public function __construct(private readonly string $docroot)
    {
    }

    /** Through a rename: nobody can meet half a file. False where it cannot be written. */
    public function keep(string $path, string $content): bool
    {
        $file = $this->docroot . $path;
        $folder = dirname($file);
        if (!is_dir($folder) && !@mkdir($folder, 0755, true) && !is_dir($folder)) {
            return false;
        }
        $temporary = "$folder/." . bin2hex(random_bytes(6));
        if (@file_put_contents($temporary, $content) !== strlen($content) || !@rename($temporary, $file)) {
            @unlink($temporary);
            return false;
        }
        return true;
    }
}
