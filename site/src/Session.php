<?php

declare(strict_types=1);

namespace Enjambre\Site;

/**
 * The visitor's session. Without its cookie there is none, and nothing is set: anonymous pages stay the same for
 * everybody. The cookie is named as Drupal names its own, SESS (SSESS over HTTPS) and 32 hex digits.
 */
final class Session
{
    private const SECONDS = 86_400;

    /** @var array<string, mixed>|null */
    private ?array $values = null;

    public function __construct(private readonly Request $request, private readonly KeyValue $store)
    {
        session_name(($request->isHttps() ? 'SSESS' : 'SESS') . substr(hash('sha256', $request->host()), 0, 32));
    }

    public function user(): ?string
    {
        return $this->values()['user'] ?? null;
    }

    /** Empty for an anonymous visitor. */
    public function id(): string
    {
        return $this->values() === [] ? '' : (string) session_id();
    }

    public function exists(): bool
    {
        return $this->values() !== [];
    }

    /** Counts the pages of this session that were made for it: proof that none came from a cache. */
    public function countVisit(): int
    {
        $values = $this->values();
        $visits = (int) ($values['visits'] ?? 0) + 1;
        $this->save(['visits' => $visits] + $values);
        return $visits;
    }

    /** Under a new identifier, so that one planted before the login is worth nothing. */
    public function login(string $user): void
    {
        $this->open();
        session_regenerate_id(true);
        $_SESSION = ['user' => $user, 'since' => time(), 'visits' => 0];
        $this->values = $_SESSION;
        session_write_close();
    }

    public function logout(): void
    {
        $this->open();
        session_destroy();
        header_remove('Set-Cookie');
        setcookie((string) session_name(), '', ['expires' => 1] + $this->cookieOptions());
        $this->values = [];
    }

    /** @return array<string, mixed> */
    private function values(): array
    {
        if ($this->values !== null) {
            return $this->values;
        }
        if ($this->request->cookie((string) session_name()) === null) {
            return $this->values = [];
        }
        $this->open();
        $this->values = $_SESSION;
        if ($this->values === []) {
            // An unknown identifier: no session is begun for it, and the new cookie is withdrawn.
            session_abort();
            header_remove('Set-Cookie');
        } else {
            session_write_close();
        }
        return $this->values;
    }

    /** @param array<string, mixed> $values */
    private function save(array $values): void
    {
        $this->open();
        $_SESSION = $values;
        $this->values = $values;
        session_write_close();
    }

    private function open(): void
    {
        if (session_status() === PHP_SESSION_ACTIVE) {
            return;
        }
        session_set_save_handler(new SessionHandler($this->store, self::SECONDS), false);
        session_set_cookie_params($this->cookieOptions());
        session_start(['use_strict_mode' => 1, 'cache_limiter' => '', 'lazy_write' => 1]);
        if ($this->values !== null) {
            // Opened again in the same request: the visitor has the cookie already.
            header_remove('Set-Cookie');
        }
    }

    /** @return array{path: string, httponly: bool, secure: bool, samesite: string} */
    private function cookieOptions(): array
    {
        return ['path' => '/', 'httponly' => true, 'secure' => $this->request->isHttps(), 'samesite' => 'Lax'];
    }
}
