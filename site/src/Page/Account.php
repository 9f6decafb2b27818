<?php

declare(strict_types=1);

namespace Enjambre\Site\Page;

use Enjambre\Site\Request;
use Enjambre\Site\Response;
use Enjambre\Site\Site;

/**
 * Logging in and out, and the page that only its session sees.
 */
final class Account
{
    public function __construct(private readonly Site $site)
    {
    }

    public function form(Request $request): Response
    {
        return $this->site->session()->exists() ? Response::seeOther('/me') : $this->loginForm(null, 200);
    }

    public function login(Request $request): Response
    {
        if (!$this->site->token()->accepts($request->field('token'), 'login')) {
            return $this->loginForm('This form is too old, or did not come from this site. Please try again.', 403);
        }
        $name = $request->field('name');
        $user = $this->site->database()->row('SELECT name, password FROM users WHERE name = ?', [$name]);
        if ($user === null || !password_verify($request->field('password'), $user['password'])) {
            return $this->loginForm('This name and password do not belong together.', 422);
        }
        $this->site->session()->login($user['name']);
        return Response::seeOther('/me');
    }

    public function logout(Request $request): Response
    {
        if (!$this->site->session()->exists()) {
            return Response::seeOther('/');
        }
        if (!$this->site->token()->accepts($request->field('token'), 'logout')) {
            return (new Problem($this->site))->forbidden('This form is too old, or did not come from this site.');
        }
        $this->site->session()->logout();
        return Response::seeOther('/');
    }

    public function show(Request $request): Response
    {
        if (!$this->site->session()->exists()) {
            return Response::seeOther('/login');
        }
        $visits = $this->site->session()->countVisit();
        return Response::html($this->site->template()->page('account', 'Your page', ['visits' => $visits]));
    }

    private function loginForm(?string $problem, int $status): Response
    {
        return Response::html($this->site->template()->page('login', 'Log in', [
            'problem' => $problem,
            'token' => $this->site->token()->make('login'),
        ]), $status);
    }
}
