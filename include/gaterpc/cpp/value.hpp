/* SPDX-License-Identifier: BSD-3-Clause */
/* value.hpp -- C++ values in and out of calls: what can be an argument, what a
 * result can be read as, and the error that is thrown. */
#ifndef GATERPC_CPP_VALUE_HPP
#define GATERPC_CPP_VALUE_HPP

#include <gaterpc.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <limits>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace gate {

/* ---- errors -------------------------------------------------------------- */
/* What a gate_ function failed with; what() is "Class: text". */
class error : public std::runtime_error {
  public:
    error(gate_err_t code, std::string cls, std::string text,
          std::string traceback = {})
        : std::runtime_error(cls + ": " + text), code_(code),
          cls_(std::move(cls)), text_(std::move(text)),
          traceback_(std::move(traceback)) {}
    explicit error(const gate_error_t *e)
        : error(e->code, e->cls, e->text, e->traceback) {}
    /* For handlers: raises cls at the caller. */
    error(std::string cls, std::string text)
        : error(GATE_RAISED, std::move(cls), std::move(text)) {}

    gate_err_t code() const noexcept { return code_; }
    const std::string &cls() const noexcept { return cls_; }
    const std::string &text() const noexcept { return text_; }
    const std::string &traceback() const noexcept { return traceback_; }
    int exit_code() const noexcept { return gate_exit_code(code_); }

  private:
    gate_err_t code_;
    std::string cls_, text_, traceback_;
};

/* Throws this thread's last failure unless e is GATE_OK. */
inline void check(gate_err_t e) {
    if (e != GATE_OK)
        throw error(gate_error());
}

/* A pointer of the library's, or its failure. */
template <class T> T *check(T *made) {
    if (!made)
        throw error(gate_error());
    return made;
}

namespace detail {
/* An object of the C library, destroyed with this. */
template <class T, void (*Destroy)(T **)> class owner {
  public:
    owner() noexcept = default;
    explicit owner(T *made) noexcept : self_(made) {}
    owner(owner &&other) noexcept
        : self_(std::exchange(other.self_, nullptr)) {}
    owner &operator=(owner &&other) noexcept {
        if (this != &other) {
            Destroy(&self_);
            self_ = std::exchange(other.self_, nullptr);
        }
        return *this;
    }
    owner(const owner &) = delete;
    owner &operator=(const owner &) = delete;
    ~owner() { Destroy(&self_); }

    T *c() const noexcept { return self_; }
    T **where() noexcept { return &self_; }

  private:
    T *self_ = nullptr;
};

template <class T> struct always_false : std::false_type {};
} // namespace detail

/* ---- bytes --------------------------------------------------------------- */
/* A bin: std::string is a str. */
struct bytes {
    std::vector<unsigned char> data;
    bytes() = default;
    explicit bytes(std::string_view text) : data(text.begin(), text.end()) {}
    bytes(const void *from, size_t size)
        : data(static_cast<const unsigned char *>(from),
               static_cast<const unsigned char *>(from) + size) {}
    bool operator==(const bytes &other) const { return data == other.data; }
};

/* ---- arguments ----------------------------------------------------------- */
/* What the arguments of one call borrow: lists and maps under way. */
class pack_room {
  public:
    std::vector<gate_arg_t> &list(size_t n) {
        lists_.emplace_back();
        lists_.back().reserve(n);
        return lists_.back();
    }

  private:
    std::deque<std::vector<gate_arg_t>> lists_;
};

/* An argument by its name: gate::kw("times", 3). */
template <class T> struct keyword {
    const char *name;
    const T &value;
};
template <class T> keyword<T> kw(const char *name, const T &value) {
    return {name, value};
}

/* Ride in an argument list, as in C. */
struct option {
    gate_arg_t arg;
};
template <class Rep, class Period>
option timeout(std::chrono::duration<Rep, Period> d) {
    return {gate_timeout_ms(
        std::chrono::duration_cast<std::chrono::milliseconds>(d).count())};
}
inline option retry(int times) { return {gate_retry(times)}; }
inline option meta(const char *key, const char *value) {
    return {gate_meta(key, value)};
}
/* The metadata of the call that is being answered goes on with this one. */
inline option meta_of(const gate_call_t *call) { return {gate_meta_of(call)}; }

/* How T becomes an argument; specialise it for types of your own. */
template <class T, class = void> struct packer {
    static_assert(detail::always_false<T>::value,
                  "no argument can be made of this type: specialise "
                  "gate::packer for it, or give one that is known");
};

template <class T> gate_arg_t to_arg(pack_room &room, const T &v) {
    return packer<std::decay_t<T>>::make(room, v);
}

template <> struct packer<gate_arg_t> {
    static gate_arg_t make(pack_room &, const gate_arg_t &v) { return v; }
};
template <> struct packer<option> {
    static gate_arg_t make(pack_room &, const option &v) { return v.arg; }
};
template <> struct packer<std::nullptr_t> {
    static gate_arg_t make(pack_room &, std::nullptr_t) {
        return gate_null(nullptr);
    }
};
template <> struct packer<bool> {
    static gate_arg_t make(pack_room &, bool v) { return gate_bool(v); }
};
template <class T> struct packer<T, std::enable_if_t<std::is_integral_v<T>>> {
    static gate_arg_t make(pack_room &, T v) {
        if constexpr (std::is_signed_v<T>)
            return gate_int(v);
        else
            return gate_uint(v);
    }
};
template <class T>
struct packer<T, std::enable_if_t<std::is_floating_point_v<T>>> {
    static gate_arg_t make(pack_room &, T v) {
        return gate_f64(static_cast<double>(v));
    }
};
template <> struct packer<const char *> {
    static gate_arg_t make(pack_room &, const char *v) { return gate_str(v); }
};
template <> struct packer<char *> {
    static gate_arg_t make(pack_room &, const char *v) { return gate_str(v); }
};
template <> struct packer<std::string> {
    static gate_arg_t make(pack_room &, const std::string &v) {
        return gate_strn(v.data(), v.size());
    }
};
template <> struct packer<std::string_view> {
    static gate_arg_t make(pack_room &, std::string_view v) {
        return gate_strn(v.data(), v.size());
    }
};
template <> struct packer<bytes> {
    static gate_arg_t make(pack_room &, const bytes &v) {
        return gate_bin(v.data.data(), v.data.size());
    }
};
template <> struct packer<gate_bytes_t> {
    static gate_arg_t make(pack_room &, gate_bytes_t v) {
        return gate_bytes(v);
    }
};
template <class T> struct packer<keyword<T>> {
    static gate_arg_t make(pack_room &room, const keyword<T> &v) {
        return gate_kw_(v.name, to_arg(room, v.value));
    }
};
template <class T> struct packer<std::optional<T>> {
    static gate_arg_t make(pack_room &room, const std::optional<T> &v) {
        return v ? to_arg(room, *v) : gate_null(nullptr);
    }
};

namespace detail {
template <class Items>
gate_arg_t pack_list(pack_room &room, const Items &items) {
    auto &list = room.list(items.size());
    for (auto &&item : items) // std::vector<bool> gives proxies
        list.push_back(to_arg<typename Items::value_type>(room, item));
    return gate_list_(list.data(), list.size());
}
} // namespace detail

template <class T> struct packer<std::vector<T>> {
    static gate_arg_t make(pack_room &room, const std::vector<T> &v) {
        return detail::pack_list(room, v);
    }
};
template <class T, size_t N> struct packer<std::array<T, N>> {
    static gate_arg_t make(pack_room &room, const std::array<T, N> &v) {
        return detail::pack_list(room, v);
    }
};
template <class... T> struct packer<std::tuple<T...>> {
    static gate_arg_t make(pack_room &room, const std::tuple<T...> &v) {
        auto &list = room.list(sizeof...(T));
        std::apply(
            [&](const T &...item) {
                (list.push_back(to_arg(room, item)), ...);
            },
            v);
        return gate_list_(list.data(), list.size());
    }
};
template <class A, class B> struct packer<std::pair<A, B>> {
    static gate_arg_t make(pack_room &room, const std::pair<A, B> &v) {
        auto &list = room.list(2);
        list.push_back(to_arg(room, v.first));
        list.push_back(to_arg(room, v.second));
        return gate_list_(list.data(), list.size());
    }
};
template <class T> struct packer<std::map<std::string, T>> {
    static gate_arg_t make(pack_room &room, const std::map<std::string, T> &v) {
        auto &list = room.list(v.size());
        for (const auto &[name, item] : v)
            list.push_back(gate_kw_(name.c_str(), to_arg(room, item)));
        return gate_map_(list.data(), list.size());
    }
};

/* The arguments of one call, as the C functions want them. */
template <class... Args> class arguments {
  public:
    explicit arguments(const Args &...args)
        : list_{{to_arg(room_, args)..., gate_null(nullptr)}} {}
    const gate_arg_t *data() const { return list_.data(); }
    static constexpr size_t size() { return sizeof...(Args); }

  private:
    pack_room room_;
    std::array<gate_arg_t, sizeof...(Args) + 1> list_;
};

/* ---- results ------------------------------------------------------------- */
/* How a T is read from a decoded object; specialise it for types of your own.
 * read throws gate::error (TypeError) for what does not fit. */
template <class T, class = void> struct reader {
    static_assert(detail::always_false<T>::value,
                  "nothing can be read as this type: specialise gate::reader "
                  "for it, or take a gate::value");
};

/* Any decoded value, which is shared when copied. */
class value {
  public:
    value() = default;
    explicit value(gate_value_t *takes)
        : self_(takes, [](gate_value_t *v) { gate_value_destroy(&v); }) {}
    gate_value_t *c() const noexcept { return self_.get(); }
    explicit operator bool() const noexcept { return self_ != nullptr; }
    const msgpack_object &object() const { return *gate_value_object(c()); }
    /* The whole, or the part at path ("args.0", "user.name"). */
    template <class T> T as(const char *path = "") const {
        const msgpack_object *part = nullptr;
        check(gate_value_read_(c(), path, gate_oobj(&part)));
        return reader<T>::read(*part);
    }
    std::string json() const {
        std::unique_ptr<char, void (*)(void *)> text(gate_value_json(c()),
                                                     &std::free);
        if (!text)
            throw std::bad_alloc();
        return text.get();
    }

  private:
    std::shared_ptr<gate_value_t> self_;
};

namespace detail {
[[noreturn]] inline void misfit(const char *wanted, const msgpack_object &o) {
    static constexpr const char *names[] = {"nil", "a bool", "an int", "an int",
                                            "a float"};
    const char *is = o.type == MSGPACK_OBJECT_STR       ? "a str"
                     : o.type == MSGPACK_OBJECT_BIN     ? "a bin"
                     : o.type == MSGPACK_OBJECT_ARRAY   ? "a list"
                     : o.type == MSGPACK_OBJECT_MAP     ? "a map"
                     : o.type == MSGPACK_OBJECT_FLOAT32 ? "a float"
                     : o.type == MSGPACK_OBJECT_EXT     ? "an ext"
                     : o.type <= MSGPACK_OBJECT_FLOAT   ? names[o.type]
                                                        : "something";
    throw error(GATE_BADARG, "TypeError",
                std::string("the value is ") + is + ", not " + wanted);
}

inline const msgpack_object_array &array_of(const msgpack_object &o) {
    if (o.type != MSGPACK_OBJECT_ARRAY)
        misfit("a list", o);
    return o.via.array;
}

template <class T> T integer(const msgpack_object &o) {
    using limit = std::numeric_limits<T>;
    if (o.type == MSGPACK_OBJECT_POSITIVE_INTEGER &&
        o.via.u64 <= static_cast<uint64_t>(limit::max()))
        return static_cast<T>(o.via.u64);
    if constexpr (std::is_signed_v<T>)
        if (o.type == MSGPACK_OBJECT_NEGATIVE_INTEGER &&
            o.via.i64 >= static_cast<int64_t>(limit::min()))
            return static_cast<T>(o.via.i64);
    bool is_int = o.type == MSGPACK_OBJECT_POSITIVE_INTEGER ||
                  o.type == MSGPACK_OBJECT_NEGATIVE_INTEGER;
    misfit(is_int ? "one of that size and sign" : "an int", o);
}
} // namespace detail

template <> struct reader<msgpack_object> {
    static msgpack_object read(const msgpack_object &o) { return o; }
};
template <> struct reader<bool> {
    static bool read(const msgpack_object &o) {
        if (o.type != MSGPACK_OBJECT_BOOLEAN)
            detail::misfit("a bool", o);
        return o.via.boolean;
    }
};
template <class T> struct reader<T, std::enable_if_t<std::is_integral_v<T>>> {
    static T read(const msgpack_object &o) { return detail::integer<T>(o); }
};
template <class T>
struct reader<T, std::enable_if_t<std::is_floating_point_v<T>>> {
    static T read(const msgpack_object &o) {
        if (o.type == MSGPACK_OBJECT_FLOAT64 ||
            o.type == MSGPACK_OBJECT_FLOAT32)
            return static_cast<T>(o.via.f64);
        if (o.type == MSGPACK_OBJECT_NEGATIVE_INTEGER)
            return static_cast<T>(o.via.i64);
        if (o.type == MSGPACK_OBJECT_POSITIVE_INTEGER)
            return static_cast<T>(o.via.u64);
        detail::misfit("a number", o);
    }
};
template <> struct reader<std::string> {
    static std::string read(const msgpack_object &o) {
        if (o.type != MSGPACK_OBJECT_STR)
            detail::misfit("a str", o);
        return std::string(o.via.str.ptr, o.via.str.size);
    }
};
template <> struct reader<bytes> {
    static bytes read(const msgpack_object &o) {
        if (o.type == MSGPACK_OBJECT_BIN)
            return bytes(o.via.bin.ptr, o.via.bin.size);
        if (o.type == MSGPACK_OBJECT_STR)
            return bytes(o.via.str.ptr, o.via.str.size);
        detail::misfit("a bin", o);
    }
};
template <class T> struct reader<std::optional<T>> {
    static std::optional<T> read(const msgpack_object &o) {
        if (o.type == MSGPACK_OBJECT_NIL)
            return std::nullopt;
        return reader<T>::read(o);
    }
};
template <class T> struct reader<std::vector<T>> {
    static std::vector<T> read(const msgpack_object &o) {
        const auto &list = detail::array_of(o);
        std::vector<T> out;
        out.reserve(list.size);
        for (uint32_t i = 0; i < list.size; i++)
            out.push_back(reader<T>::read(list.ptr[i]));
        return out;
    }
};
template <class... T> struct reader<std::tuple<T...>> {
    static std::tuple<T...> read(const msgpack_object &o) {
        const auto &list = detail::array_of(o);
        if (list.size != sizeof...(T))
            detail::misfit("a list of that length", o);
        return items(list.ptr, std::index_sequence_for<T...>{});
    }

  private:
    template <size_t... I>
    static std::tuple<T...> items(const msgpack_object *at,
                                  std::index_sequence<I...>) {
        return {reader<T>::read(at[I])...};
    }
};
template <class A, class B> struct reader<std::pair<A, B>> {
    static std::pair<A, B> read(const msgpack_object &o) {
        auto [a, b] = reader<std::tuple<A, B>>::read(o);
        return {std::move(a), std::move(b)};
    }
};
template <class T> struct reader<std::map<std::string, T>> {
    static std::map<std::string, T> read(const msgpack_object &o) {
        if (o.type != MSGPACK_OBJECT_MAP)
            detail::misfit("a map", o);
        std::map<std::string, T> out;
        for (uint32_t i = 0; i < o.via.map.size; i++) {
            const msgpack_object_kv &kv = o.via.map.ptr[i];
            out.insert_or_assign(reader<std::string>::read(kv.key),
                                 reader<T>::read(kv.val));
        }
        return out;
    }
};
template <> struct reader<value> {
    static value read(const msgpack_object &o) {
        return value(check(gate_value_new_(gate_obj(&o))));
    }
};
template <> struct packer<value> {
    static gate_arg_t make(pack_room &, const value &v) {
        return v ? gate_val(v.c()) : gate_null(nullptr);
    }
};

namespace detail {
/* A value that the library gives, as R. */
template <class R> R take(gate_value_t *given) {
    value whole(given);
    if constexpr (std::is_same_v<R, value>)
        return whole;
    else
        return reader<R>::read(whole.object());
}
} // namespace detail

} // namespace gate

#endif
