#include "net/redis/reader.hpp"

#include <hiredis/hiredis.h>

#include <algorithm>
#include <new>
#include <utility>

#include "net/redis/limits.hpp"

namespace portcullis::net::redis {
namespace {

#if HIREDIS_MAJOR == 0
// 0.14 has room for so many arrays in one another, and one for what is in the innermost. Later
// versions grow.
static_assert(limits::reply_depth_max < sizeof(redisReader::rstack) / sizeof(redisReadTask));
#endif

/// What the functions below, which hiredis calls, share with their reader.
struct building {
  std::size_t elements = 0;  // of the reply that is being read
  std::string_view why;

  /// Null: hiredis takes it for want of memory, frees the reply and reads nothing more.
  void* refuse(std::string_view rule) noexcept {
    if (why.empty()) why = rule;
    return nullptr;
  }
};

building& of(const redisReadTask* task) noexcept { return *static_cast<building*>(task->privdata); }

/// hiredis keeps a pointer to an array only while it is being filled, and it is the last of its
/// parent's elements then: they may move afterwards.
void* place(const redisReadTask* task, reply made) noexcept {
  auto& all = of(task);
  if (++all.elements > limits::reply_elements_max) return all.refuse("reply_elements");
  if (task->parent == nullptr) return new reply(std::move(made));
  auto& siblings = static_cast<reply*>(task->parent->obj)->elements;
  siblings.push_back(std::move(made));
  return &siblings.back();
}

void* make_text(const redisReadTask* task, char* bytes, std::size_t size) noexcept {
  reply made;
  switch (task->type) {
    case REDIS_REPLY_STRING:
      made.type = reply_type::text;
      break;
    case REDIS_REPLY_STATUS:
      made.type = reply_type::status;
      break;
    case REDIS_REPLY_ERROR:
      made.type = reply_type::error;
      break;
    default:  // of RESP3, which was not asked for
      return of(task).refuse("protocol");
  }
  made.text.assign(bytes, size);
  return place(task, std::move(made));
}

/// `count` is an int in hiredis 0.14 and a size_t later.
template <class Count>
void* make_array(const redisReadTask* task, Count count) noexcept {
  if (task->type != REDIS_REPLY_ARRAY) return of(task).refuse("protocol");
  std::size_t depth = 1;
  for (const auto* up = task->parent; up != nullptr; up = up->parent) ++depth;
  if (depth > limits::reply_depth_max) return of(task).refuse("reply_depth");
  if (static_cast<std::size_t>(count) > limits::reply_elements_max)
    return of(task).refuse("reply_elements");
  reply made;
  made.type = reply_type::array;
  // What is promised is not yet there.
  made.elements.reserve(std::min<std::size_t>(static_cast<std::size_t>(count), 16));
  return place(task, std::move(made));
}

void* make_integer(const redisReadTask* task, long long value) noexcept {
  reply made;
  made.type = reply_type::integer;
  made.integer = value;
  return place(task, std::move(made));
}

void* make_nil(const redisReadTask* task) noexcept { return place(task, {}); }

void drop(void* made) noexcept { delete static_cast<reply*>(made); }

/// A template, so that what a version of hiredis lacks is not looked at.
template <class Functions>
Functions functions() {
  Functions made{};
  made.createString = &make_text;
  made.createArray = &make_array;  // the pointer's type chooses
  made.createInteger = &make_integer;
  made.createNil = &make_nil;
  made.freeObject = &drop;
  if constexpr (requires { made.createDouble; }) {
    made.createDouble = [](const redisReadTask* task, double, char*, std::size_t) -> void* {
      return of(task).refuse("protocol");
    };
    made.createBool = [](const redisReadTask* task, int) -> void* {
      return of(task).refuse("protocol");
    };
  }
  return made;
}

}  // namespace

struct reply_reader::impl {
  building built;
  redisReplyObjectFunctions made = functions<redisReplyObjectFunctions>();
  redisReader* reader = nullptr;
  std::size_t reply_bytes_max = 0;
  std::uint64_t fed = 0;
  std::uint64_t begun = 0;  // of `fed`, where the present reply began
};

reply_reader::reply_reader(std::size_t reply_bytes_max) : impl_(std::make_unique<impl>()) {
  impl_->reader = redisReaderCreateWithFunctions(&impl_->made);
  if (impl_->reader == nullptr) throw std::bad_alloc();
  impl_->reader->privdata = &impl_->built;
  impl_->reply_bytes_max = reply_bytes_max;
  impl_->reader->maxbuf = limits::read_bytes;  // of an empty buffer: a larger one is given back
}

reply_reader::~reply_reader() { redisReaderFree(impl_->reader); }

void reply_reader::feed(std::string_view bytes) {
  if (!impl_->built.why.empty() || bytes.empty()) return;
  impl_->fed += bytes.size();
  if (redisReaderFeed(impl_->reader, bytes.data(), bytes.size()) != REDIS_OK)
    impl_->built.refuse("protocol");
}

reply_reader::status reply_reader::next(reply& into) {
  auto& it = *impl_;
  if (!it.built.why.empty()) return status::broken;
  void* found = nullptr;
  if (redisReaderGetReply(it.reader, &found) != REDIS_OK) {
    it.built.refuse("protocol");
    return status::broken;
  }
  const auto unread = it.reader->len - it.reader->pos;
  const auto ended = found != nullptr ? it.fed - unread : it.fed;
  const bool too_large = ended - it.begun > it.reply_bytes_max;
  if (found != nullptr) {
    into = std::move(*static_cast<reply*>(found));
    drop(found);
    it.begun = ended;
    it.built.elements = 0;
  }
  if (too_large) {
    it.built.refuse("reply_bytes");
    return status::broken;
  }
  return found != nullptr ? status::complete : status::more;
}

std::string_view reply_reader::why() const noexcept { return impl_->built.why; }
std::string_view reply_reader::detail() const noexcept { return impl_->reader->errstr; }

}  // namespace portcullis::net::redis
