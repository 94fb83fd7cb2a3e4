/* A server on libssh, 127.0.0.1: logins, direct-tcpip, tcpip-forward and its cancellation.
 *
 *	libssh_server PORT HOST_KEY AUTHORIZED_KEYS USER PASSWORD
 *
 * One process a connection. libssh hands whole messages to callbacks; sockets are polled here. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <libssh/callbacks.h>
#include <libssh/libssh.h>
#include <libssh/server.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MANY 512
#define PIECE 32768

/* A channel and its socket; `out` is what the socket has not taken yet. */
struct relay {
	ssh_channel channel;
	int fd;
	char *out;
	size_t size;
	int channel_ended, socket_ended;
	struct ssh_channel_callbacks_struct callbacks;
};

struct listener {
	int fd, port;
	char address[256];
};

static struct relay *relays[MANY];
static struct listener listeners[MANY];
static int relay_count, listener_count, logged_in;
static char **arguments;

static struct sockaddr_in loopback(const char *host, int port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
	if (inet_pton(AF_INET, host, &address.sin_addr) != 1)
		inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
	return address;
}

static int listen_on(const char *host, int *port)
{
	struct sockaddr_in address = loopback(host, *port);
	socklen_t length = sizeof address;
	int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 256)) {
		close(fd);
		return -1;
	}
	getsockname(fd, (struct sockaddr *)&address, &length);
	*port = ntohs(address.sin_port);
	return fd;
}

/* Logins */

static int on_password(ssh_session session, const char *user, const char *password, void *data)
{
	(void)session, (void)data;
	logged_in = !strcmp(user, arguments[4]) && !strcmp(password, arguments[5]);
	return logged_in ? SSH_AUTH_SUCCESS : SSH_AUTH_DENIED;
}

static int is_authorized(ssh_key key)
{
	char line[8192], type[64], blob[8000];
	int found = 0;
	FILE *file = fopen(arguments[3], "r");
	while (file && !found && fgets(line, sizeof line, file)) {
		ssh_key known = NULL;
		if (sscanf(line, "%63s %7999s", type, blob) == 2 &&
		    ssh_pki_import_pubkey_base64(blob, ssh_key_type_from_name(type), &known) == SSH_OK)
			found = !ssh_key_cmp(key, known, SSH_KEY_CMP_PUBLIC);
		ssh_key_free(known);
	}
	if (file)
		fclose(file);
	return found;
}

static int on_key(ssh_session session, const char *user, struct ssh_key_struct *key, char state, void *data)
{
	(void)session, (void)data;
	if (strcmp(user, arguments[4]) || !is_authorized(key))
		return SSH_AUTH_DENIED;
	if (state == SSH_PUBLICKEY_STATE_VALID)
		logged_in = 1;
	return state == SSH_PUBLICKEY_STATE_VALID || state == SSH_PUBLICKEY_STATE_NONE ? SSH_AUTH_SUCCESS
										       : SSH_AUTH_DENIED;
}

/* Channels */

static void flush(struct relay *relay)
{
	while (relay->size) {
		ssize_t sent = send(relay->fd, relay->out, relay->size, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent <= 0)
			break;
		relay->size -= sent;
		memmove(relay->out, relay->out + sent, relay->size);
	}
	if (relay->channel_ended == 1 && !relay->size) {
		shutdown(relay->fd, SHUT_WR);
		relay->channel_ended = 2;
	}
}

static int on_data(ssh_session session, ssh_channel channel, void *data, uint32_t length, int is_stderr, void *of)
{
	struct relay *relay = of;
	(void)session, (void)channel, (void)is_stderr;
	relay->out = realloc(relay->out, relay->size + length);
	memcpy(relay->out + relay->size, data, length);
	relay->size += length;
	flush(relay);
	return (int)length;
}

static void on_end(ssh_session session, ssh_channel channel, void *of)
{
	struct relay *relay = of;
	(void)session, (void)channel;
	if (!relay->channel_ended)
		relay->channel_ended = 1;
	flush(relay);
}

static struct relay *relay_for(int fd)
{
	struct relay *relay = calloc(1, sizeof *relay);
	relay->fd = fd;
	relay->callbacks.userdata = relay;
	relay->callbacks.channel_data_function = on_data;
	relay->callbacks.channel_eof_function = on_end;
	relay->callbacks.channel_close_function = on_end;
	ssh_callbacks_init(&relay->callbacks);
	return relay;
}

static void start(struct relay *relay, ssh_channel channel)
{
	relay->channel = channel;
	ssh_set_channel_callbacks(channel, &relay->callbacks);
	relays[relay_count++] = relay;
}

static int on_message(ssh_session session, ssh_message message, void *data)
{
	int type = ssh_message_type(message), subtype = ssh_message_subtype(message);
	(void)session, (void)data;
	if (type == SSH_REQUEST_CHANNEL_OPEN && subtype == SSH_CHANNEL_DIRECT_TCPIP && relay_count < MANY) {
		struct sockaddr_in address = loopback(ssh_message_channel_request_open_destination(message),
						      ssh_message_channel_request_open_destination_port(message));
		int fd = socket(AF_INET, SOCK_STREAM, 0);
		if (connect(fd, (struct sockaddr *)&address, sizeof address)) {
			close(fd);
			return 1; /* the library refuses it */
		}
		start(relay_for(fd), ssh_message_channel_request_open_reply_accept(message));
		return 0;
	}
	if (type == SSH_REQUEST_GLOBAL && subtype == SSH_GLOBAL_REQUEST_TCPIP_FORWARD && listener_count < MANY) {
		const char *address = ssh_message_global_request_address(message);
		int port = ssh_message_global_request_port(message), fd = listen_on(address, &port);
		if (fd < 0)
			return 1;
		struct listener *listener = &listeners[listener_count++];
		listener->fd = fd;
		listener->port = port;
		snprintf(listener->address, sizeof listener->address, "%s", address);
		ssh_message_global_request_reply_success(message, port);
		return 0;
	}
	if (type == SSH_REQUEST_GLOBAL && subtype == SSH_GLOBAL_REQUEST_CANCEL_TCPIP_FORWARD)
		for (int at = 0; at < listener_count; at++)
			if (listeners[at].port == ssh_message_global_request_port(message)) {
				close(listeners[at].fd);
				listeners[at] = listeners[--listener_count];
				ssh_message_global_request_reply_success(message, 0);
				return 0;
			}
	return 1;
}

/* Sockets */

static void accept_one(ssh_session session, struct listener *listener)
{
	struct sockaddr_in origin;
	socklen_t length = sizeof origin;
	int fd = accept(listener->fd, (struct sockaddr *)&origin, &length);
	if (fd < 0 || relay_count == MANY)
		return;
	ssh_channel channel = ssh_channel_new(session);
	struct relay *relay = relay_for(fd);
	char address[256];
	snprintf(address, sizeof address, "%s", listener->address);
	ssh_set_channel_callbacks(channel, &relay->callbacks); /* data may come with the confirmation */
	if (ssh_channel_open_reverse_forward(channel, address, listener->port, "127.0.0.1", ntohs(origin.sin_port))) {
		ssh_channel_free(channel);
		close(fd);
		return;
	}
	relay->channel = channel;
	relays[relay_count++] = relay;
}

static void read_socket(struct relay *relay)
{
	char piece[PIECE];
	uint32_t window = ssh_channel_window_size(relay->channel);
	ssize_t got = recv(relay->fd, piece, window < PIECE ? window : PIECE, MSG_DONTWAIT);
	if (got > 0)
		ssh_channel_write(relay->channel, piece, got);
	else if (got == 0 || !ssh_channel_is_open(relay->channel)) {
		relay->socket_ended = 1;
		ssh_channel_send_eof(relay->channel);
	} else
		relay->socket_ended = relay->channel_ended = 2; /* reset */
}

static void end_the_finished(void)
{
	for (int at = 0; at < relay_count; at++) {
		struct relay *relay = relays[at];
		if (relay->channel_ended != 2 || !relay->socket_ended)
			continue;
		close(relay->fd);
		ssh_channel_close(relay->channel);
		ssh_channel_free(relay->channel);
		free(relay->out);
		free(relay);
		relays[at--] = relays[--relay_count];
	}
}

static void serve(ssh_session session)
{
	ssh_event event = ssh_event_new();
	ssh_event_add_session(event, session);
	while (ssh_is_connected(session)) {
		struct pollfd polled[1 + 2 * MANY];
		int count = 1, listening = listener_count, relaying = relay_count;
		int writes = ssh_get_poll_flags(session) & SSH_WRITE_PENDING;
		polled[0] = (struct pollfd){ssh_get_fd(session), POLLIN | (writes ? POLLOUT : 0), 0};
		for (int at = 0; at < listening; at++)
			polled[count++] = (struct pollfd){listeners[at].fd, POLLIN, 0};
		for (int at = 0; at < relaying; at++) {
			struct relay *relay = relays[at];
			int reads = !relay->socket_ended && ssh_channel_window_size(relay->channel) > 0;
			short events = (reads ? POLLIN : 0) | (relay->size ? POLLOUT : 0);
			polled[count++] = (struct pollfd){events ? relay->fd : -1, events, 0};
		}
		poll(polled, count, -1);
		for (int at = 0; at < relaying; at++) {
			short events = polled[1 + listening + at].revents;
			if (events & POLLOUT)
				flush(relays[at]);
			if (events & (POLLIN | POLLHUP | POLLERR))
				read_socket(relays[at]);
		}
		for (int at = 0; at < listening && listening == listener_count; at++)
			if (polled[1 + at].revents)
				accept_one(session, &listeners[at]);
		if (polled[0].revents && ssh_event_dopoll(event, 0) == SSH_ERROR)
			break;
		end_the_finished();
	}
}

int main(int count, char **given)
{
	struct ssh_server_callbacks_struct callbacks = {
		.auth_password_function = on_password,
		.auth_pubkey_function = on_key,
	};
	if (count != 6)
		return 2;
	arguments = given;
	signal(SIGCHLD, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	ssh_init();
	ssh_bind server = ssh_bind_new();
	ssh_bind_options_set(server, SSH_BIND_OPTIONS_BINDADDR, "127.0.0.1");
	ssh_bind_options_set(server, SSH_BIND_OPTIONS_BINDPORT_STR, arguments[1]);
	ssh_bind_options_set(server, SSH_BIND_OPTIONS_HOSTKEY, arguments[2]);
	if (ssh_bind_listen(server)) {
		fprintf(stderr, "%s\n", ssh_get_error(server));
		return 1;
	}
	for (;;) {
		ssh_session session = ssh_new();
		if (ssh_bind_accept(server, session) || fork()) {
			ssh_free(session);
			continue;
		}
		ssh_callbacks_init(&callbacks);
		ssh_set_server_callbacks(session, &callbacks);
		ssh_set_message_callback(session, on_message, NULL);
		ssh_set_auth_methods(session, SSH_AUTH_METHOD_PASSWORD | SSH_AUTH_METHOD_PUBLICKEY);
		if (ssh_handle_key_exchange(session) == SSH_OK)
			serve(session);
		_exit(0);
	}
}
