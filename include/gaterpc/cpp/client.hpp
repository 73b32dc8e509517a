/* SPDX-License-Identifier: BSD-3-Clause */
/* client.hpp -- runtime, broker, client, futures and streams in C++17. */
#ifndef GATERPC_CPP_CLIENT_HPP
#define GATERPC_CPP_CLIENT_HPP

#include <gaterpc/cpp/value.hpp>

namespace gate {

/* ---- settings, runtime --------------------------------------------------- */
class settings {
  public:
    settings() : self_(gate_settings_new()) {
        if (!self_.c())
            throw std::bad_alloc();
    }
    /* As text, as a file and the environment give it. */
    settings &set(const char *name, const std::string &text) {
        gate_settings_parse(self_.c(), name, text.c_str());
        check(gate_settings_check(self_.c()));
        return *this;
    }
    settings &load(const std::string &zpl_file) {
        check(gate_settings_load(self_.c(), zpl_file.c_str()));
        return *this;
    }
    gate_settings_t *c() const noexcept { return self_.c(); }

  private:
    detail::owner<gate_settings_t, gate_settings_destroy> self_;
};

/* What a program's clients and services share; they keep it alive. */
class runtime {
  public:
    runtime() : runtime(nullptr) {}
    explicit runtime(const settings &s) : runtime(s.c()) {}
    /* Until SIGTERM or SIGINT, then drains; the exit code. */
    int wait() { return gate_runtime_wait(self_.c()); }
    gate_runtime_t *c() const noexcept { return self_.c(); }

  private:
    explicit runtime(const gate_settings_t *s) : self_(gate_runtime_new(s)) {
        if (!self_.c())
            throw std::bad_alloc();
        check(gate_runtime_start(self_.c()));
    }
    detail::owner<gate_runtime_t, gate_runtime_destroy> self_;
};

/* ---- broker -------------------------------------------------------------- */
class broker {
  public:
    broker(runtime &rt, const std::string &frontend, const std::string &backend)
        : self_(gate_broker_new(rt.c())) {
        if (!self_.c())
            throw std::bad_alloc();
        gate_broker_bind(self_.c(), frontend.c_str());
        gate_broker_bind_backend(self_.c(), backend.c_str());
        check(gate_broker_start(self_.c()));
    }
    /* With their real ports. */
    std::string frontend() const { return gate_broker_frontend(self_.c(), 0); }
    std::string backend() const { return gate_broker_backend(self_.c(), 0); }
    gate_broker_t *c() const noexcept { return self_.c(); }

  private:
    detail::owner<gate_broker_t, gate_broker_destroy> self_;
};

/* ---- an answer that will come -------------------------------------------- */
template <class R> class future {
  public:
    explicit future(gate_future_t *takes) : self_(takes) {}
    bool ready() const { return gate_future_ready(self_.c()); }
    void cancel() { gate_future_cancel(self_.c()); }
    /* Waits until the call's own deadline decides. */
    R get() { return wait(-1); }
    /* Throws TimeoutError when it is not there by then, and can be asked
     * again. */
    template <class Rep, class Period>
    R get_for(std::chrono::duration<Rep, Period> d) {
        return wait(
            std::chrono::duration_cast<std::chrono::milliseconds>(d).count());
    }
    gate_future_t *c() const noexcept { return self_.c(); }

  private:
    R wait(int64_t ms) {
        gate_value_t *v = nullptr;
        check(gate_future_wait_(self_.c(), ms,
                                std::is_void_v<R> ? gate_onone(nullptr)
                                                  : gate_oval(&v)));
        if constexpr (!std::is_void_v<R>)
            return detail::take<R>(v);
    }
    detail::owner<gate_future_t, gate_future_destroy> self_;
};

/* ---- a streamed answer --------------------------------------------------- */
/* for (int i : client.stream<int>("Demo.gen", 3)) ... ; leaving early stops the
 * producer. */
template <class T> class stream {
  public:
    explicit stream(gate_stream_t *takes) : self_(takes) {}
    /* nullopt: the end. */
    std::optional<T> next() {
        gate_value_t *v = nullptr;
        gate_err_t e = gate_stream_next_(self_.c(), gate_oval(&v));
        if (e == GATE_EOS)
            return std::nullopt;
        if (e)
            throw error(gate_stream_error(self_.c()));
        return detail::take<T>(v);
    }
    gate_stream_t *c() const noexcept { return self_.c(); }

    struct end_mark {};
    class iterator {
      public:
        explicit iterator(stream &s) : stream_(s), item_(s.next()) {}
        T &operator*() { return *item_; }
        iterator &operator++() {
            item_ = stream_.next();
            return *this;
        }
        bool operator!=(end_mark) const { return item_.has_value(); }

      private:
        stream &stream_;
        std::optional<T> item_;
    };
    iterator begin() { return iterator(*this); }
    end_mark end() { return {}; }

  private:
    detail::owner<gate_stream_t, gate_stream_destroy> self_;
};

/* ---- client -------------------------------------------------------------- */
/* How a client says who it is; what is empty is not said. */
struct credentials {
    std::string user, password;              /* in-band PLAIN */
    std::string cert_file, server_cert_file; /* CURVE */
};

class client {
  public:
    /* endpoint "": the services of this runtime alone. */
    explicit client(runtime &rt, const std::string &endpoint = {},
                    const credentials &who = {})
        : self_(gate_client_new(rt.c())) {
        if (!self_.c())
            throw std::bad_alloc();
        if (!who.user.empty())
            gate_client_plain(self_.c(), who.user.c_str(),
                              who.password.c_str());
        if (!who.cert_file.empty())
            gate_client_curve(self_.c(), who.cert_file.c_str(),
                              who.server_cert_file.c_str());
        check(gate_client_connect(
            self_.c(), endpoint.empty() ? nullptr : endpoint.c_str()));
    }
    /* Waits until the broker has answered once. */
    template <class Rep, class Period>
    void ready(std::chrono::duration<Rep, Period> d) {
        check(gate_client_ready(
            self_.c(),
            std::chrono::duration_cast<std::chrono::milliseconds>(d).count()));
    }

    /* call<int>("Math.add", 2, 3), call<void>("Log.put", gate::kw("line", s),
     * gate::timeout(1s)) */
    template <class R = value, class... Args>
    R call(const std::string &method, const Args &...args) {
        arguments<Args...> packed(args...);
        gate_value_t *v = nullptr;
        check(gate_client_call_(self_.c(), method.c_str(),
                                std::is_void_v<R> ? gate_onone(nullptr)
                                                  : gate_oval(&v),
                                packed.data(), packed.size()));
        if constexpr (!std::is_void_v<R>)
            return detail::take<R>(v);
    }
    template <class R = value, class... Args>
    future<R> start(const std::string &method, const Args &...args) {
        arguments<Args...> packed(args...);
        return future<R>(gate_client_start_(self_.c(), method.c_str(),
                                            packed.data(), packed.size()));
    }
    template <class T = value, class... Args>
    stream<T> open(const std::string &method, const Args &...args) {
        arguments<Args...> packed(args...);
        gate_stream_t *s = nullptr;
        check(gate_client_open_(self_.c(), method.c_str(), &s, packed.data(),
                                packed.size()));
        return stream<T>(s);
    }
    std::vector<std::string> services() {
        gate_value_t *names = nullptr;
        check(gate_client_services(self_.c(), &names));
        return detail::take<std::vector<std::string>>(names);
    }
    gate_client_t *c() const noexcept { return self_.c(); }

  private:
    detail::owner<gate_client_t, gate_client_destroy> self_;
};

} // namespace gate

#endif
