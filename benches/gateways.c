/* What benches/gateways.py is too slow for.
 *
 * gateways stream FILE CLIENT NODE FAR ADDRESS RATE
 *     Sends numbered datagrams from one namespace to a host in another, and writes the moments of
 *     sending and of arrival (the kernel's) into a shared file, beside those of the node's messages
 *     about nexthop objects. Namespaces are given as process ids. Ends with its standard input.
 * gateways ping ADDRESS MILLISECONDS
 *     One echo request; exits with 0 if it was answered in time. What a shell script would use.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PACKETS (1u << 20)
#define MESSAGES (1u << 16)
#define RTM_NEWNEXTHOP_ 104

struct packet { uint64_t sent, arrived; uint32_t link, number; };
struct message { uint64_t heard; uint32_t kind, id; };
struct shared {
    uint64_t sent, messages, overflowed, refused;
    struct packet packets[PACKETS];
    struct message heard[MESSAGES];
};

static struct shared *shared;
static int from, to, news;
static struct sockaddr_storage far;
static socklen_t far_length;
static uint64_t period;

static void check(int good, const char *what)
{
    if (!good) {
        perror(what);
        exit(1);
    }
}

static uint64_t moment(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * 1000000000ull + now.tv_nsec;
}

static void enter(const char *pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%s/ns/net", pid);
    int namespace = open(path, O_RDONLY | O_CLOEXEC);
    check(namespace >= 0 && setns(namespace, CLONE_NEWNET) == 0, path);
    close(namespace);
}

static void room(int sock)
{
    int size = 1 << 26;
    if (setsockopt(sock, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) != 0)
        setsockopt(sock, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
}

/* Before everything else, where that is allowed: what is measured is not this program. */
static void hurry(void)
{
    struct sched_param first = { .sched_priority = 10 };
    sched_setscheduler(0, SCHED_FIFO, &first);
    prctl(PR_SET_TIMERSLACK, 1000);
}

static void *send_all(void *nothing)
{
    hurry();
    uint64_t next = moment(CLOCK_MONOTONIC);
    for (uint32_t number = 0;; number++) {
        struct packet *packet = &shared->packets[number % PACKETS];
        *packet = (struct packet){ .sent = moment(CLOCK_REALTIME), .number = number };
        if (sendto(from, &number, sizeof number, MSG_DONTWAIT, (void *)&far, far_length) < 0)
            shared->refused++;
        __atomic_store_n(&shared->sent, number + 1, __ATOMIC_RELEASE);
        next += period;
        uint64_t now = moment(CLOCK_MONOTONIC);
        if (now > next + 20000000)  /* Held up that long, it does not burst. */
            next = now;
        struct timespec until = { next / 1000000000, next % 1000000000 };
        if (now < next)
            clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
    }
    return nothing;
}

static void *receive_all(void *nothing)
{
    hurry();
    for (;;) {
        uint32_t number;
        char control[256];
        struct iovec data = { &number, sizeof number };
        struct msghdr header = { .msg_iov = &data, .msg_iovlen = 1,
                                 .msg_control = control, .msg_controllen = sizeof control };
        if (recvmsg(to, &header, 0) != sizeof number)
            continue;
        struct packet *packet = &shared->packets[number % PACKETS];
        uint64_t arrived = 0;
        for (struct cmsghdr *c = CMSG_FIRSTHDR(&header); c; c = CMSG_NXTHDR(&header, c)) {
            if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS) {
                struct timespec *then = (void *)CMSG_DATA(c);
                arrived = then->tv_sec * 1000000000ull + then->tv_nsec;
            } else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_RXQ_OVFL) {
                shared->overflowed = *(uint32_t *)CMSG_DATA(c);
            } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
                packet->link = ((struct in_pktinfo *)CMSG_DATA(c))->ipi_ifindex;
            } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
                packet->link = ((struct in6_pktinfo *)CMSG_DATA(c))->ipi6_ifindex;
            }
        }
        if (packet->number == number)
            __atomic_store_n(&packet->arrived, arrived, __ATOMIC_RELEASE);
    }
    return nothing;
}

static void *hear_all(void *nothing)
{
    static char data[1 << 16];
    hurry();
    for (;;) {
        int length = recv(news, data, sizeof data, 0);
        uint64_t heard = moment(CLOCK_REALTIME);
        for (struct nlmsghdr *m = (void *)data; length > 0 && NLMSG_OK(m, (unsigned)length);
             m = NLMSG_NEXT(m, length)) {
            uint32_t id = 0;
            int left = m->nlmsg_len - NLMSG_LENGTH(8);
            struct rtattr *a = (void *)((char *)NLMSG_DATA(m) + 8);
            for (; RTA_OK(a, left); a = RTA_NEXT(a, left))
                if (a->rta_type == 1)  /* NHA_ID */
                    id = *(uint32_t *)RTA_DATA(a);
            shared->heard[shared->messages % MESSAGES] = (struct message){ heard, m->nlmsg_type, id };
            __atomic_add_fetch(&shared->messages, 1, __ATOMIC_RELEASE);
        }
    }
    return nothing;
}

static int stream(char **words)
{
    int file = open(words[0], O_RDWR | O_CREAT, 0600), on = 1;
    check(file >= 0 && ftruncate(file, sizeof *shared) == 0, words[0]);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    check(shared != MAP_FAILED, "mmap");
    struct addrinfo *found, hints = { .ai_socktype = SOCK_DGRAM, .ai_flags = AI_NUMERICHOST };
    check(getaddrinfo(words[4], "5000", &hints, &found) == 0, words[4]);
    memcpy(&far, found->ai_addr, far_length = found->ai_addrlen);
    period = 1000000000ull / strtoul(words[5], NULL, 10);

    enter(words[2]);
    news = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
    int group = RTNLGRP_NEXTHOP;
    struct sockaddr_nl any = { .nl_family = AF_NETLINK };
    check(bind(news, (void *)&any, sizeof any) == 0, "bind");
    check(setsockopt(news, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) == 0, "join");
    room(news);
    enter(words[3]);
    to = socket(found->ai_family, SOCK_DGRAM, 0);
    check(bind(to, found->ai_addr, found->ai_addrlen) == 0, "bind");
    room(to);
    setsockopt(to, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
    setsockopt(to, SOL_SOCKET, SO_RXQ_OVFL, &on, sizeof on);
    if (found->ai_family == AF_INET)
        setsockopt(to, IPPROTO_IP, IP_PKTINFO, &on, sizeof on);
    else
        setsockopt(to, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on);
    enter(words[1]);
    from = socket(found->ai_family, SOCK_DGRAM, 0);

    pthread_t thread;
    pthread_create(&thread, NULL, receive_all, NULL);
    pthread_create(&thread, NULL, hear_all, NULL);
    pthread_create(&thread, NULL, send_all, NULL);
    char word;
    while (read(0, &word, 1) > 0)
        ;
    return 0;
}

static int ping(char **words)
{
    struct addrinfo *found, hints = { .ai_flags = AI_NUMERICHOST };
    check(getaddrinfo(words[0], NULL, &hints, &found) == 0, words[0]);
    int v6 = found->ai_family == AF_INET6;
    int sock = socket(found->ai_family, SOCK_RAW, v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
    check(sock >= 0 && connect(sock, found->ai_addr, found->ai_addrlen) == 0, "socket");
    uint16_t id = getpid();
    unsigned char request[8] = { v6 ? 128 : 8 }, answer[2048];
    memcpy(request + 4, &id, 2);
    uint32_t sum = (request[0] << 8) + (request[4] << 8) + request[5];
    sum = ~((sum & 0xffff) + (sum >> 16));
    request[2] = sum >> 8;
    request[3] = sum;
    send(sock, request, sizeof request, 0);
    uint64_t end = moment(CLOCK_MONOTONIC) + strtoul(words[1], NULL, 10) * 1000000ull, now;
    while ((now = moment(CLOCK_MONOTONIC)) < end) {
        struct pollfd wait = { sock, POLLIN, 0 };
        if (poll(&wait, 1, (end - now) / 1000000 + 1) <= 0)
            continue;
        int length = recv(sock, answer, sizeof answer, 0), start = v6 ? 0 : (answer[0] & 15) * 4;
        if (length >= start + 8 && answer[start] == (v6 ? 129 : 0) && !memcmp(answer + start + 4, &id, 2))
            return 0;
    }
    return 1;
}

int main(int count, char **words)
{
    prctl(PR_SET_PDEATHSIG, 9);
    if (count == 8 && !strcmp(words[1], "stream"))
        return stream(words + 2);
    if (count == 4 && !strcmp(words[1], "ping"))
        return ping(words + 2);
    fprintf(stderr, "see the head of gateways.c\n");
    return 2;
}
