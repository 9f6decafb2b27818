<h1>Articles</h1>
<p class="lead">Short explanations of what stands between a browser and a PHP worker, and why.</p>
<?= $part('cards', ['articles' => $articles]) ?>
<?= $part('probe') ?>
