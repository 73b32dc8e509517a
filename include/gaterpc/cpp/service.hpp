/* SPDX-License-Identifier: BSD-3-Clause */
/* service.hpp -- methods that are lambdas (or functions): their parameters are
 * the call's arguments, what they return its result, what they throw its
 * exception. */
#ifndef GATERPC_CPP_SERVICE_HPP
#define GATERPC_CPP_SERVICE_HPP

#include <gaterpc/cpp/client.hpp>

namespace gate {

/* A call inside its handler: take a gate::call & as the first parameter. */
class call {
  public:
    explicit call(gate_call_t *self) : self_(self) {}
    /* One item of a streamed answer; on threads alone. Throws CancelledError
     * when the reader has left. */
    template <class T> void yield(const T &item) {
        streams_ = true;
        pack_room room;
        check(gate_yield_(self_, to_arg(room, item)));
    }
    /* The answer is a stream, though no item comes. */
    void streams() noexcept { streams_ = true; }
    bool cancelled() const { return gate_call_cancelled(self_); }
    std::string user() const { return gate_call_user(self_); }
    std::chrono::milliseconds time_left() const {
        return std::chrono::milliseconds(gate_call_time_left_ms(self_));
    }
    std::optional<std::string> meta(const char *key) const {
        const char *text = gate_call_meta(self_, key);
        return text ? std::optional<std::string>(text) : std::nullopt;
    }
    gate_call_t *c() const noexcept { return self_; }
    bool is_stream() const noexcept { return streams_; }

  private:
    gate_call_t *self_;
    bool streams_ = false;
};

namespace detail {

template <class F> struct signature : signature<decltype(&F::operator())> {};
template <class R, class... A> struct signature<R (*)(A...)> {
    using result = R;
    using params = std::tuple<std::decay_t<A>...>;
    static constexpr bool wants_call = false;
};
template <class R, class... A> struct signature<R (*)(call &, A...)> {
    using result = R;
    using params = std::tuple<std::decay_t<A>...>;
    static constexpr bool wants_call = true;
};
template <class R, class C, class... A>
struct signature<R (C::*)(A...) const> : signature<R (*)(A...)> {};
template <class R, class C, class... A>
struct signature<R (C::*)(A...)> : signature<R (*)(A...)> {};

/* One method with what it closes over; lives as long as the service. */
struct handler {
    virtual ~handler() = default;
    virtual gate_err_t run(gate_call_t *c) = 0;
    std::string name;
    gate_method_t table[2] = {};
};

template <class F> struct handler_of final : handler {
    explicit handler_of(F f) : fn(std::move(f)) {}

    gate_err_t run(gate_call_t *c) override {
        call self(c);
        return go(self,
                  std::make_index_sequence<
                      std::tuple_size_v<typename signature<F>::params>>{});
    }

  private:
    using sig = signature<F>;

    template <size_t... I>
    gate_err_t go(call &self, std::index_sequence<I...>) {
        constexpr size_t n = sizeof...(I);
        std::array<const msgpack_object *, n + 1> at{};
        std::array<gate_slot_t, n + 1> slots{
            {slot<std::tuple_element_t<I, typename sig::params>>(&at[I])...,
             gate_onone(nullptr)}};
        if (gate_err_t e = gate_args_(self.c(), slots.data(), n))
            return e;
        auto run = [&]() -> typename sig::result {
            if constexpr (sig::wants_call)
                return fn(self, arg<I>(at[I])...);
            else
                return fn(arg<I>(at[I])...);
        };
        if constexpr (std::is_void_v<typename sig::result>) {
            run();
            return self.is_stream() ? GATE_EOS : GATE_OK;
        } else {
            pack_room room;
            auto result = run();
            return gate_return_(self.c(), to_arg(room, result));
        }
    }

    template <class T> struct is_optional : std::false_type {};
    template <class T> struct is_optional<std::optional<T>> : std::true_type {};

    template <class T> static gate_slot_t slot(const msgpack_object **at) {
        gate_slot_t s = gate_oobj(at);
        return is_optional<T>::value ? gate_opt_(s) : s;
    }
    template <size_t I> static auto arg(const msgpack_object *o) {
        using T = std::tuple_element_t<I, typename sig::params>;
        if constexpr (is_optional<T>::value)
            if (!o)
                return T{};
        return named<T>(I, *o);
    }
    /* "argument 2: the value is a str, not a number" */
    template <class T> static T named(size_t i, const msgpack_object &o) {
        try {
            return reader<T>::read(o);
        } catch (const error &e) {
            throw error(e.code(), e.cls(),
                        "argument " + std::to_string(i + 1) + ": " + e.text());
        }
    }

    F fn;
};

inline gate_err_t raise(gate_call_t *c, const char *cls, const char *text) {
    return gate_raise(c, cls, "%s", text);
}

/* What the library calls: no exception gets past it. */
inline gate_err_t run_handler(gate_call_t *c) noexcept {
    try {
        return static_cast<handler *>(gate_call_ctx(c))->run(c);
    } catch (const error &e) {
        if (e.code() == GATE_CANCELLED)
            return GATE_CANCELLED;
        return raise(c, e.cls().c_str(), e.text().c_str());
    } catch (const std::invalid_argument &e) {
        return raise(c, "ValueError", e.what());
    } catch (const std::out_of_range &e) {
        return raise(c, "IndexError", e.what());
    } catch (const std::bad_alloc &e) {
        return raise(c, "MemoryError", e.what());
    } catch (const std::exception &e) {
        return raise(c, "RuntimeError", e.what());
    } catch (...) {
        return raise(c, "RuntimeError",
                     "an exception that is no "
                     "std::exception");
    }
}

} // namespace detail

/* ---- service ------------------------------------------------------------- */
class service {
  public:
    service(runtime &rt, const std::string &name)
        : self_(gate_service_new(rt.c(), name.c_str())) {
        if (!self_.c())
            throw std::bad_alloc();
    }
    service(service &&) = default;
    service &operator=(service &&) = delete;
    /* Before start. runs: GATE_INLINE (on the service's own thread: short) or
     * GATE_THREAD. A parameter that is a std::optional may be left out. */
    template <class F>
    service &method(const std::string &name, F fn,
                    gate_runs_t runs = GATE_INLINE, const char *doc = nullptr) {
        if (runs != GATE_INLINE && runs != GATE_THREAD)
            throw std::invalid_argument(
                name + ": a lambda runs inline or on threads; for processes "
                       "use gate_service_methods with a function");
        auto made = std::make_unique<detail::handler_of<F>>(std::move(fn));
        made->name = name;
        made->table[0].name = made->name.c_str();
        made->table[0].fn = detail::run_handler;
        made->table[0].runs = runs;
        made->table[0].doc = doc;
        gate_service_methods(self_.c(), made->table, made.get());
        handlers_.push_back(std::move(made));
        return *this;
    }
    service &limit(int max_calls) {
        gate_service_limit(self_.c(), max_calls);
        return *this;
    }
    service &plain(const std::string &user, const std::string &password) {
        gate_service_plain(self_.c(), user.c_str(), password.c_str());
        return *this;
    }
    /* backend "": this runtime alone. */
    void start(const std::string &backend = {}) {
        check(gate_service_start(self_.c(),
                                 backend.empty() ? nullptr : backend.c_str()));
    }
    /* Waits until every broker has registered it. */
    template <class Rep, class Period>
    void ready(std::chrono::duration<Rep, Period> d) {
        check(gate_service_ready(
            self_.c(),
            std::chrono::duration_cast<std::chrono::milliseconds>(d).count()));
    }
    template <class Rep, class Period>
    void drain(std::chrono::duration<Rep, Period> d) {
        check(gate_service_drain(
            self_.c(),
            std::chrono::duration_cast<std::chrono::milliseconds>(d).count()));
    }
    gate_service_t *c() const noexcept { return self_.c(); }

  private:
    /* Destroyed after the service, whose handlers they are. */
    std::vector<std::unique_ptr<detail::handler>> handlers_;
    detail::owner<gate_service_t, gate_service_destroy> self_;
};

} // namespace gate

#endif
