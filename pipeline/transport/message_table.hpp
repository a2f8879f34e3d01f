// The messages of a transport that are under way, by their MessageId.
#pragma once

#include "core/error.hpp"
#include "pipeline/transport/transport.hpp"

#include <cstddef>
#include <vector>

namespace sluice {

/// Entries are reused, so an update allocates nothing once as many are there as are ever under way
/// together. Ids count the reuses of an entry, so that a stale one is noticed.
template <class Message>
class MessageTable {
public:
    /// `mark`: 0, or a bit from 61 up that all ids of this table have and those of others have not.
    explicit MessageTable(MessageId mark = 0) : mark_(mark) {}
    void reserve(std::size_t count)
    {
        entries_.reserve(count);
        free_.reserve(count);
    }

    /// Of an entry for one more message, which holds whatever it held last.
    std::size_t add()
    {
        if (free_.empty()) {
            entries_.emplace_back();
            free_.push_back(entries_.size() - 1);
        }
        const std::size_t index = free_.back();
        free_.pop_back();
        entries_[index].active = true;
        entries_[index].use = (entries_[index].use + 1) & 0x0fffffff;
        return index;
    }
    void remove(std::size_t index)
    {
        entries_[index].active = false;
        free_.push_back(index);
    }

    Message& operator[](std::size_t index) { return entries_[index].message; }
    const Message& operator[](std::size_t index) const { return entries_[index].message; }
    std::size_t size() const { return entries_.size(); } ///< active or not
    bool is_active(std::size_t index) const { return entries_[index].active; }
    bool empty() const { return free_.size() == entries_.size(); }

    MessageId id_of(std::size_t index) const
    {
        return mark_ | (MessageId{entries_[index].use} << 32) | static_cast<MessageId>(index + 1);
    }
    /// Only with a mark: whether the id is one of this table.
    bool has(MessageId id) const { return (id & mark_) != 0; }
    std::size_t index_of(MessageId id) const
    {
        const auto index = static_cast<std::size_t>((id & 0xffffffff) - 1);
        SLUICE_CHECK(index < entries_.size() && entries_[index].active && id_of(index) == id,
                     "message " << id << " is not under way");
        return index;
    }

private:
    struct Entry {
        Message message;
        bool active = false;
        std::int32_t use = 0;
    };
    MessageId mark_;
    std::vector<Entry> entries_;
    std::vector<std::size_t> free_; ///< entries not in use
};

} // namespace sluice
