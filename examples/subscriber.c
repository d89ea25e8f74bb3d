/* Prints the header of every micro-expression event of a running session.
   Needs libzmq: cc subscriber.c -o subscriber -lzmq */
#include <stdio.h>
#include <string.h>
#include <zmq.h>

static int ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

int main(int count, char **arguments)
{
    void *context = zmq_ctx_new();
    void *reader = zmq_socket(context, ZMQ_SUB);
    if (zmq_connect(reader, count > 1 ? arguments[1] : "tcp://127.0.0.1:5571") != 0) {
        perror("connect");
        return 1;
    }
    zmq_setsockopt(reader, ZMQ_SUBSCRIBE, "sfam/", 5);

    for (int ended = 0; !ended;) {
        char topic[256];
        int length = zmq_recv(reader, topic, sizeof topic - 1, 0);
        if (length < 0 || length >= (int)sizeof topic)
            break;
        topic[length] = '\0';

        zmq_msg_t header;
        zmq_msg_init(&header);
        if (zmq_msg_recv(&header, reader, 0) < 0)
            break;
        const char *json = zmq_msg_data(&header);
        int size = (int)zmq_msg_size(&header);
        if (ends_with(topic, "/event")) {
            printf("%.*s\n", size, json);
            fflush(stdout);
        } else if (ends_with(topic, "/session")) {
            char text[65536];
            snprintf(text, sizeof text, "%.*s", size, json);
            ended = strstr(text, "\"state\":\"ended\"") || strstr(text, "\"state\":\"failed\"");
        }
        zmq_msg_close(&header);
    }
    zmq_close(reader);
    zmq_ctx_term(context);
    return 0;
}
