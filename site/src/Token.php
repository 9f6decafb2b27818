<?php

declare(strict_types=1);

namespace Enjambre\Site;

/**
 * Proof that a form came from this site: the moment it was made, signed together with its purpose and the session.
 * The login form has no session yet, and its token needs none.
 */
final class Token
{
    private const SECONDS = 7200;

    public function __construct(private readonly string $secret, private readonly string $session)
    {
    }

    public function make(string $purpose): string
    {
        $time = (string) time();
        return "$time.{$this->sign($time, $purpose)}";
    }

    public function accepts(string $token, string $purpose): bool
    {
        [$time, $signature] = explode('.', $token, 2) + [1 => ''];
        return ctype_digit($time)
            && abs(time() - (int) $time) <= self::SECONDS
            && hash_equals($this->sign($time, $purpose), $signature);
    }

    private function sign(string $time, string $purpose): string
    {
        return hash_hmac('sha256', "$time\0$purpose\0$this->session", $this->secret);
    }
}
