<?php

declare(strict_types=1);

namespace Enjambre\Site\Lab;

use Enjambre\Site\Request;
use Enjambre\Site\Response;

/**
 * `/download?mb=500`: that many MiB that anybody can check. Each block of 65536 bytes begins with its offset in
 * the file as 16 hexadecimal digits; the byte at position i of a block is otherwise (31 × i + i ÷ 256) mod 256.
 */
final class Download
{
    private const BLOCK = 65_536;

    public function answer(Request $request): Response
    {
        $size = $request->number('mb', 10, 0, 65_536) << 20;
        return Response::stream('application/octet-stream', static function () use ($size): void {
            set_time_limit(0);
            $rest = self::pattern();
            for ($offset = 0; $offset < $size; $offset += self::BLOCK) {
                echo sprintf('%016x', $offset), $rest;
            }
        })
            ->with('Content-Length', (string) $size)
            ->with('Content-Disposition', 'attachment; filename="pattern.bin"');
    }

    private static function pattern(): string
    {
        $bytes = '';
        for ($i = 16; $i < self::BLOCK; $i++) {
            $bytes .= chr((31 * $i + ($i >> 8)) & 255);
        }
        return $bytes;
    }
}
