<?php

declare(strict_types=1);

namespace Enjambre\Site;

/**
 * The style sheets joined into one, under a name that changes with their content.
 */
final class Stylesheet
{
    public function __construct(private readonly string $folder)
    {
    }

    public function url(): string
    {
        return "/files/css/css_{$this->version()}.css";
    }

    public function version(): string
    {
        return substr(hash('sha256', $this->sources()), 0, 16);
    }

    public function content(): string
    {
        return trim((string) preg_replace(['~/\*.*?\*/~s', '~^\s+~m'], '', $this->sources())) . "\n";
    }

    private function sources(): string
    {
        return implode("\n", array_map('file_get_contents', glob("$this->folder/*.css") ?: []));
    }
}
