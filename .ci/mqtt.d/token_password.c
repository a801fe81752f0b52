/* A plugin for mosquitto 2: the password is a token, and the broker hangs up when it ends. A token is "END.SECRET", with its
 * end in milliseconds since 1970. mosquitto's own password files know no end. */

#include <mosquitto.h>
#include <mosquitto_broker.h>
#include <mosquitto_plugin.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CLIENTS 16

static mosquitto_plugin_id_t *plugin;
static const char *secret = "";
/* When each client's last token ends. An end of 0 is a free place. */
static struct { char id[64]; long long end; } clients[CLIENTS];

static long long now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_REALTIME, &time);
	return time.tv_sec * 1000LL + time.tv_nsec / 1000000;
}

static int on_connect(int event, void *data, void *context)
{
	struct mosquitto_evt_basic_auth *auth = data;
	const char *id = mosquitto_client_id(auth->client);
	char *rest = NULL;
	long long end = auth->password ? strtoll(auth->password, &rest, 10) : 0;
	if (end <= now() || *rest != '.' || strcmp(rest + 1, secret) != 0 || !id || strlen(id) >= sizeof clients[0].id) {
		mosquitto_log_printf(MOSQ_LOG_NOTICE, "token refused");
		return MOSQ_ERR_AUTH;
	}
	int place = -1;
	for (int i = 0; i < CLIENTS; i++)
		if (clients[i].end == 0 || strcmp(clients[i].id, id) == 0) {
			place = i;
			if (clients[i].end != 0) break;
		}
	if (place < 0) return MOSQ_ERR_AUTH;
	strcpy(clients[place].id, id);
	clients[place].end = end;
	mosquitto_log_printf(MOSQ_LOG_NOTICE, "token accepted, %lld ms left", end - now());
	return MOSQ_ERR_SUCCESS;
}

static int on_tick(int event, void *data, void *context)
{
	for (int i = 0; i < CLIENTS; i++)
		if (clients[i].end != 0 && clients[i].end <= now()) {
			clients[i].end = 0;
			mosquitto_log_printf(MOSQ_LOG_NOTICE, "token ended: hanging up on %s", clients[i].id);
			mosquitto_kick_client_by_clientid(clients[i].id, false);
		}
	return MOSQ_ERR_SUCCESS;
}

int mosquitto_plugin_version(int count, const int *versions)
{
	for (int i = 0; i < count; i++)
		if (versions[i] == 5) return 5;
	return -1;
}

int mosquitto_plugin_init(mosquitto_plugin_id_t *id, void **data, struct mosquitto_opt *options, int count)
{
	plugin = id;
	for (int i = 0; i < count; i++)
		if (strcmp(options[i].key, "secret") == 0) secret = strdup(options[i].value);
	int failed = mosquitto_callback_register(plugin, MOSQ_EVT_BASIC_AUTH, on_connect, NULL, NULL);
	return failed ? failed : mosquitto_callback_register(plugin, MOSQ_EVT_TICK, on_tick, NULL, NULL);
}

int mosquitto_plugin_cleanup(void *data, struct mosquitto_opt *options, int count)
{
	return MOSQ_ERR_SUCCESS;
}
