<?php

declare(strict_types=1);

namespace Enjambre\Site\Lab;

use Enjambre\Site\Request;
use Enjambre\Site\Response;
use Enjambre\Site\Site;

/**
 * `/upload` takes a form, `/upload/raw` a bare body. Both answer with the size and the SHA-256 of what arrived.
 */
final class Upload
{
    private const CHUNK = 1 << 18;

    public function __construct(private readonly Site $site)
    {
    }

    public function form(Request $request): Response
    {
        return Response::html($this->site->template()->page('upload', 'Upload', ['received' => null, 'problem' => null]));
    }

    public function receive(Request $request): Response
    {
        $file = $_FILES['file'] ?? null;
        $problem = match (is_array($file) ? $file['error'] : UPLOAD_ERR_NO_FILE) {
            UPLOAD_ERR_OK => null,
            UPLOAD_ERR_NO_FILE => 'No file arrived.',
            UPLOAD_ERR_INI_SIZE, UPLOAD_ERR_FORM_SIZE => 'The file is larger than PHP takes.',
            UPLOAD_ERR_PARTIAL => 'Only a part of the file arrived.',
            default => 'PHP could not keep the file.',
        };
        $received = $problem !== null ? null : [
            'name' => (string) $file['name'],
            'size' => (int) $file['size'],
            'sha256' => (string) hash_file('sha256', $file['tmp_name']),
        ];
        $status = $problem === null ? 200 : 422;
        if (str_contains($request->header('Accept') ?? '', 'application/json')) {
            return Response::json($received ?? ['problem' => $problem], $status);
        }
        $values = ['received' => $received, 'problem' => $problem];
        return Response::html($this->site->template()->page('upload', 'Upload', $values), $status);
    }

    public function receiveRaw(Request $request): Response
    {
        $body = fopen('php://input', 'rb');
        $hash = hash_init('sha256');
        $size = 0;
        while (!feof($body) && ($chunk = fread($body, self::CHUNK)) !== false) {
            $size += strlen($chunk);
            hash_update($hash, $chunk);
        }
        return Response::json([
            'method' => $request->method,
            'size' => $size,
            'sha256' => hash_final($hash),
            'content_length' => $request->server('CONTENT_LENGTH'),
            'peak_memory' => memory_get_peak_usage(true),
        ]);
    }
}
