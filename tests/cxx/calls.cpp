/* SPDX-License-Identifier: BSD-3-Clause */
/* calls.cpp -- the C++ face, in one process and through a broker: values both
 * ways, errors both ways, futures, streams, names, metadata. */
#include <gaterpc/gate.hpp>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <thread>

using namespace std::chrono_literals;

namespace {

int failures;

void fails(const char *file, int line, const std::string &what) {
    std::fprintf(stderr, "%s:%d: %s\n", file, line, what.c_str());
    failures++;
}

#define CHECK(x)                           \
    do {                                   \
        if (!(x))                          \
            fails(__FILE__, __LINE__, #x); \
    } while (0)

/* It throws that class, and its text has those words. */
#define RAISES(cls_, words, ...)                                            \
    do {                                                                    \
        try {                                                               \
            __VA_ARGS__;                                                    \
            fails(__FILE__, __LINE__, #__VA_ARGS__ ": nothing was thrown"); \
        } catch (const gate::error &e_) {                                   \
            if (e_.cls() != (cls_) ||                                       \
                e_.text().find(words) == std::string::npos)                 \
                fails(__FILE__, __LINE__, e_.what());                       \
        }                                                                   \
    } while (0)

template <class T> T echo(gate::client &c, const T &v) {
    return c.call<T>("Test.echo", v);
}

void values(gate::client &c) {
    using map = std::map<std::string, std::vector<int>>;
    CHECK(echo(c, true));
    CHECK(echo<int8_t>(c, -128) == -128);
    CHECK(echo<uint64_t>(c, UINT64_MAX) == UINT64_MAX);
    CHECK(echo<int64_t>(c, INT64_MIN) == INT64_MIN);
    CHECK(echo(c, 0.5) == 0.5);
    CHECK(echo(c, std::string("a\0b", 3)).size() == 3);
    CHECK(echo(c, gate::bytes("\xff\x00")) == gate::bytes("\xff\x00"));
    CHECK(echo(c, map{{"a", {1, 2}}, {"b", {}}}) ==
          (map{{"a", {1, 2}}, {"b", {}}}));
    CHECK(echo(c, std::vector<bool>{true, false}) ==
          (std::vector<bool>{true, false}));
    CHECK(echo(c, std::optional<int>()) == std::nullopt);
    CHECK((echo(c, std::tuple<int, std::string>{7, "x"}) ==
           std::tuple<int, std::string>{7, "x"}));
    CHECK((echo(c, std::pair<bool, int>{true, 2}) ==
           std::pair<bool, int>{true, 2}));
    gate::value v = c.call("Test.echo", map{{"a", {1, 2}}});
    CHECK(v.as<int>("a.1") == 2);
    CHECK(v.json() == "{\"a\":[1,2]}");
}

void misfits(gate::client &c) {
    RAISES("TypeError", "a float, not an int", c.call<int>("Test.echo", 3.0f));
    RAISES("TypeError", "not an int", c.call<int>("Test.echo", "text"));
    RAISES("TypeError", "that size", c.call<int8_t>("Test.echo", 128));
    RAISES("TypeError", "that size", c.call<unsigned>("Test.echo", -1));
    RAISES("TypeError", "a list", c.call<std::vector<int>>("Test.echo", 1));
    RAISES("TypeError", "argument 2", c.call<int>("Test.add", 1, "2"));
    RAISES("TypeError", "", c.call<int>("Test.add", 1));
    RAISES("TypeError", "", c.call<int>("Test.add", 1, 2, 3));
}

void errors(gate::client &c) {
    RAISES("ValueError", "not that", c.call<void>("Test.fail", 0));
    RAISES("IndexError", "beyond", c.call<void>("Test.fail", 1));
    RAISES("RuntimeError", "plain", c.call<void>("Test.fail", 2));
    RAISES("OwnError", "own", c.call<void>("Test.fail", 3));
    RAISES("RuntimeError", "no std::exception", c.call<void>("Test.fail", 4));
    RAISES("AttributeError", "", c.call<void>("Test.nothing"));
    RAISES("ServiceUnAvailableError", "Nobody",
           c.call<void>("Nobody.x", gate::timeout(20s)));
    c.call<void>("Test.fail", 5); /* fails not */
}

void options(gate::client &c) {
    /* A lambda's parameters have no names. */
    RAISES("TypeError", "",
           c.call<int>("Test.add", gate::kw("b", 40), gate::kw("a", 2)));
    CHECK(c.call<std::string>("Test.who", gate::meta("traceparent", "00-1")) ==
          "00-1");
    CHECK(c.call<std::string>("Test.who") == "none");
    CHECK(c.call<int>("Test.half", 8) == 4);
    CHECK(c.call<int>("Test.half") == -1);
}

void futures(gate::client &c) {
    std::vector<gate::future<int>> all;
    for (int i = 0; i < 200; i++)
        all.push_back(c.start<int>("Test.add", i, i));
    int sum = 0;
    for (auto &f : all)
        sum += f.get();
    CHECK(sum == 199 * 200);
    auto slow = c.start<void>("Test.sleep");
    RAISES("TimeoutError", "", slow.get_for(1ms));
    slow.cancel();
    RAISES("CancelledError", "", slow.get());
}

void streams(gate::client &c, const std::atomic<bool> &left) {
    std::vector<int> got;
    for (int i : c.open<int>("Test.count", 100))
        got.push_back(i);
    CHECK(got.size() == 100 && got.back() == 99);
    CHECK(!c.open<int>("Test.count", 0).next());
    auto broken = c.open<int>("Test.broken");
    CHECK(broken.next() == 1);
    RAISES("ValueError", "half way", broken.next());
    for (int i : c.open<int>("Test.endless"))
        if (i == 10)
            break;
    for (int i = 0; i < 6000 && !left; i++) /* at most a minute */
        std::this_thread::sleep_for(10ms);
    CHECK(left);
}

void methods(gate::service &s, std::atomic<bool> &stop,
             std::atomic<bool> &left) {
    s.method("echo", [](gate::value v) { return v; });
    s.method("add", [](int a, int b) { return a + b; });
    s.method("half", [](std::optional<int> n) { return n ? *n / 2 : -1; });
    s.method("who", [](gate::call &call) {
        return call.meta("traceparent").value_or("none");
    });
    s.method(
        "fail",
        [](int how) {
            if (how == 0)
                throw std::invalid_argument("not that");
            if (how == 1)
                throw std::out_of_range("beyond");
            if (how == 2)
                throw std::logic_error("plain");
            if (how == 3)
                throw gate::error("OwnError", "own");
            if (how == 4)
                throw 4;
        },
        GATE_THREAD);
    s.method(
        "sleep",
        [&stop](gate::call &call) {
            while (!call.cancelled() && !stop)
                std::this_thread::sleep_for(1ms);
        },
        GATE_THREAD);
    s.method(
        "count",
        [](gate::call &call, int n) {
            call.streams();
            for (int i = 0; i < n; i++)
                call.yield(i);
        },
        GATE_THREAD);
    s.method(
        "broken",
        [](gate::call &call) {
            call.yield(1);
            throw std::invalid_argument("half way");
        },
        GATE_THREAD);
    s.method(
        "endless",
        [&left](gate::call &call) {
            try {
                for (int i = 0;; i++)
                    call.yield(i);
            } catch (const gate::error &) {
                left = true;
                throw;
            }
        },
        GATE_THREAD);
}

void all(gate::client &c, std::atomic<bool> &left) {
    left = false;
    values(c);
    misfits(c);
    errors(c);
    options(c);
    futures(c);
    streams(c, left);
}

void run() {
    std::atomic<bool> stop{false}, left{false};
    gate::runtime rt;
    gate::broker broker(rt, "tcp://127.0.0.1:*", "tcp://127.0.0.1:*");
    gate::service service(rt, "Test");
    methods(service, stop, left);
    try {
        service.method(
            "forked", [] {}, GATE_PROCESS);
        fails(__FILE__, __LINE__, "a lambda on processes was taken");
    } catch (const std::invalid_argument &) {
    }
    service.start(broker.backend());
    service.ready(60s);
    {
        gate::client near(rt, broker.frontend());
        near.ready(60s);
        auto names = near.services();
        CHECK(std::find(names.begin(), names.end(), "Test") != names.end());
        all(near, left);
        gate::client moved = std::move(near);
        CHECK(moved.call<int>("Test.add", 1, 1) == 2);
    }
    gate::runtime other; /* no registry in common: through the broker */
    gate::client far(other, broker.frontend());
    far.ready(60s);
    all(far, left);
    stop = true;
    service.drain(60s);
}

} // namespace

int main() {
    try {
        run();
        gate::settings().set("log_level", "nonsense");
        fails(__FILE__, __LINE__, "a wrong setting was taken");
    } catch (const gate::error &e) {
        if (e.text().find("log_level") == std::string::npos)
            fails(__FILE__, __LINE__, e.what());
    }
    std::printf("%d failures\n", failures);
    return failures != 0;
}
