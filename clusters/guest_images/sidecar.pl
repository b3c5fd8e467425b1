#!/usr/bin/perl
# A hook sidecar of KubeVirt that hooks nothing: it answers the one question that every sidecar
# is asked, and stays until SIGTERM.
#
# virt-launcher waits for the socket of each sidecar and asks kubevirt.hooks.info.Info/Info over
# gRPC; without an answer it gives up, and the VMI fails (kubevirt pkg/hooks/manager.go, Collect).
# Who names no hook point is asked nothing else (pkg/hooks/info/api_info.proto). So every request
# here is that one, and gets the same answer: no header has to be understood. HTTP/2: RFC 9113.
use strict;
use warnings;
use Socket;

use constant { DATA => 0, HEADERS => 1, SETTINGS => 4, PING => 6 };
use constant { ACK => 1, END_STREAM => 1, END_HEADERS => 4 };
my $preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
my $directory = shift // '/var/run/kubevirt-hooks';

# InfoResult: 1 name, 4 versions; all that there ever were.
my $result = join '', map { chr($_->[0] << 3 | 2) . chr(length $_->[1]) . $_->[1] }
    [1, 'cpu-conformance'], [4, 'v1alpha3'], [4, 'v1alpha2'], [4, 'v1alpha1'];

sub frame {
    my ($type, $flags, $stream, $payload) = @_;
    return substr(pack('N', length $payload), 1) . pack('CCN', $type, $flags, $stream) . $payload;
}

# HPACK, RFC 7541: 0x88 is ":status: 200"; the others are literals that are not indexed.
sub literal { return "\0" . join '', map { chr(length) . $_ } @_ }

sub answer {
    my ($stream) = @_;
    my $headers = "\x88" . literal('content-type', 'application/grpc');
    return frame(HEADERS, END_HEADERS, $stream, $headers)
        . frame(DATA, 0, $stream, "\0" . pack('N', length $result) . $result)
        . frame(HEADERS, END_HEADERS | END_STREAM, $stream, literal('grpc-status', '0'));
}

sub take {
    my ($client, $length) = @_;
    my $data = '';
    while (length $data < $length) {
        sysread($client, $data, $length - length $data, length $data) or exit 0;
    }
    return $data;
}

sub serve {
    my ($client) = @_;
    local $SIG{PIPE} = 'IGNORE';
    exit 0 if take($client, length $preface) ne $preface;
    syswrite $client, frame(SETTINGS, 0, 0, '');
    while (1) {
        my ($high, $low, $type, $flags, $stream) = unpack 'CnCCN', take($client, 9);
        my $payload = take($client, $high << 16 | $low);
        $stream &= 0x7fffffff;
        my $acknowledged = $flags & ACK;
        syswrite $client, frame(SETTINGS, ACK, 0, '') if $type == SETTINGS && !$acknowledged;
        syswrite $client, frame(PING, ACK, 0, $payload) if $type == PING && !$acknowledged;
        # A request has ended: with its headers where it has no body, with its last data else.
        syswrite $client, answer($stream)
            if ($type == DATA || $type == HEADERS) && $flags & END_STREAM;
    }
}

if (!-d $directory) {  # a pod of its own, beside no launcher
    $SIG{TERM} = $SIG{INT} = sub { exit 0 };
    sleep while 1;
}

# virt-launcher tells sidecars apart by the names of their sockets.
my $path = sprintf '%s/cpu-conformance-%08x.sock', $directory, rand(2**32);
$SIG{TERM} = $SIG{INT} = sub { unlink $path; exit 0 };
$SIG{CHLD} = 'IGNORE';
socket(my $server, PF_UNIX, SOCK_STREAM, 0) or die "no socket: $!\n";
bind($server, pack_sockaddr_un($path)) or die "$path cannot be made: $!\n";
listen($server, 16) or die "$path cannot be listened to: $!\n";
while (1) {
    accept(my $client, $server) or next;
    my $child = fork // die "no process for a connection: $!\n";
    if (!$child) {
        $SIG{TERM} = $SIG{INT} = 'DEFAULT';
        serve($client);
    }
}
