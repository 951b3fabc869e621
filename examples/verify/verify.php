<?php
// Believe Doorward's signature and no header: for PHP 8 with OpenSSL, without dependencies.
//
//   require 'verify.php';
//   $claims = doorward_verify('https://wiki.example.com/.doorward/jwks.json',
//                             'https://wiki.example.com', 'wiki', '/var/lib/wiki/doorward-keys.json');
//   if ($claims === null) { http_response_code(401); exit; }
//   $user = $claims['preferred_username'];
//
// The keys are kept in the last file. Nobody but the application may write to its folder.

function doorward_verify(string $keysUrl, string $issuer, string $audience, string $kept): ?array
{
    $parts = explode('.', $_SERVER['HTTP_X_DOORWARD_ASSERTION'] ?? '');
    if (count($parts) !== 3) {
        return null;
    }
    $header = json_decode(doorward_decode($parts[0]), true);
    $claims = json_decode(doorward_decode($parts[1]), true);
    $signature = doorward_decode($parts[2]);
    $id = $header['kid'] ?? null;
    if (!is_string($id) || !is_array($claims) || strlen($signature) !== 64) {
        return null;
    }
    $key = doorward_find_key($keysUrl, $kept, $id);
    // The key says how it signs; what the token says of that is never obeyed.
    if (($key['alg'] ?? null) !== 'ES256' || ($header['alg'] ?? null) !== 'ES256') {
        return null;
    }
    $signed = "$parts[0].$parts[1]";
    $der = doorward_to_der($signature);
    if (openssl_verify($signed, $der, doorward_to_pem($key), OPENSSL_ALGO_SHA256) !== 1) {
        return null;
    }
    $isDue = ($claims['iat'] ?? INF) <= time() + 60 && time() < ($claims['exp'] ?? 0);
    $isOurs = ($claims['iss'] ?? null) === $issuer && ($claims['aud'] ?? null) === $audience;
    return $isDue && $isOurs ? $claims : null;
}

function doorward_find_key(string $keysUrl, string $kept, string $id): ?array
{
    $age = time() - (@filemtime($kept) ?: 0);
    $keys = $age < 300 ? json_decode(file_get_contents($kept), true)['keys'] ?? [] : [];
    $found = array_column($keys, null, 'kid')[$id] ?? null;
    // A key that is not known yet may be new; asked for at most every ten seconds.
    if ($found === null && $age > 10) {
        $text = file_get_contents($keysUrl, false, stream_context_create(['http' => ['timeout' => 5]]));
        if ($text === false) {
            return null;
        }
        file_put_contents("$kept." . getmypid(), $text);
        rename("$kept." . getmypid(), $kept); // whole or not at all
        $found = array_column(json_decode($text, true)['keys'] ?? [], null, 'kid')[$id] ?? null;
    }
    return $found;
}

function doorward_decode(string $text): string
{
    return base64_decode(strtr($text, '-_', '+/'), true) ?: '';
}

// OpenSSL wants the two numbers of a signature as ASN.1, and the key's point as X.509 has it.
function doorward_to_der(string $signature): string
{
    $numbers = '';
    foreach (str_split($signature, 32) as $number) {
        $number = ltrim($number, "\0");
        $number = $number === '' || ord($number[0]) > 127 ? "\0$number" : $number;
        $numbers .= "\x02" . chr(strlen($number)) . $number;
    }
    return "\x30" . chr(strlen($numbers)) . $numbers;
}

function doorward_to_pem(array $key): string
{
    $point = "\x04" . doorward_decode($key['x']) . doorward_decode($key['y']);
    $der = hex2bin('3059301306072a8648ce3d020106082a8648ce3d030107034200') . $point;
    return "-----BEGIN PUBLIC KEY-----\n" . base64_encode($der) . "\n-----END PUBLIC KEY-----\n";
}
