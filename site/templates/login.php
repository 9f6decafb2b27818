<div class="narrow">
  <h1>Log in</h1>
  <p>There is one account, <b>demo</b>, and its password is <b>demo</b>. Until you log in, no cookie is set.</p>
<?php if ($problem !== null): ?>
  <p class="notice bad" role="alert"><?= $e($problem) ?></p>
<?php endif ?>
  <form class="form" method="post" action="/login">
    <input type="hidden" name="token" value="<?= $e($token) ?>">
    <label for="name">Name</label>
    <input id="name" name="name" autocomplete="username" required autofocus>
    <label for="password">Password</label>
    <input id="password" name="password" type="password" autocomplete="current-password" required>
    <button class="button">Log in</button>
  </form>
</div>
