<?php

declare(strict_types=1);

namespace Enjambre\Site;

/**
 * Plain PHP templates inside one layout. `e()` escapes; nothing else does.
 */
final class Template
{
    public function __construct(private readonly Site $site, private readonly string $folder)
    {
    }

    /**
     * The whole page.
     *
     * @param array<string, mixed> $values
     */
    public function page(string $name, string $title, array $values = []): string
    {
        $user = $this->site->session()->user();
        $body = $this->part($name, ['user' => $user] + $values);
        return $this->part('layout', [
            'title' => $title,
            'body' => $body,
            'user' => $user,
            'path' => $this->site->request->path,
            'stylesheet' => $this->site->stylesheet()->url(),
            'logoutToken' => $user === null ? null : $this->site->token()->make('logout'),
            'made' => [
                'at' => gmdate('Y-m-d\TH:i:s\Z'),
                'worker' => getmypid(),
                'ms' => (microtime(true) - $this->site->startedAt) * 1000,
            ],
        ]);
    }

    /** When a template was last edited. */
    public function changed(): int
    {
        return max([0, ...array_map('filemtime', glob("$this->folder/*.php") ?: [])]);
    }

    /** @param array<string, mixed> $values */
    public function part(string $name, array $values): string
    {
        $e = static fn (string|int|float $text): string => htmlspecialchars((string) $text, ENT_QUOTES | ENT_SUBSTITUTE);
        $part = fn (string $name, array $values = []): string => $this->part($name, $values);
        return (static function (string $file, array $values) use ($e, $part): string {
            extract($values, EXTR_SKIP);
            ob_start();
            require $file;
            return (string) ob_get_clean();
        })("$this->folder/$name.php", $values);
    }
}
