// What all ranks learn of together: errors, so that one message is printed and every rank leaves in
// order, and what rank 0 found out.
#pragma once

#include "core/error.hpp"
#include "pipeline/transport/transport.hpp"

#include <cstddef>
#include <functional>
#include <string>

namespace sluice {

/// A user's mistake that every rank knows of at the same point: all can leave in order.
class AgreedError : public UserError {
public:
    using UserError::UserError;
};

/// Collective. Runs `work` on every rank; when it throws UserError or what std::filesystem throws
/// on any, throws AgreedError on every rank with the text of the lowest such rank (which is named
/// in the message when not all failed alike).
void agree(Transport& transport, const std::function<void()>& work);

/// Collective. Runs `work` on rank 0 only; its UserError is thrown on every rank as AgreedError.
void on_rank_zero(Transport& transport, const std::function<void()>& work);

/// Collective. The smallest over all ranks, so that all choose and refuse alike. Exact below 2^53.
std::size_t least_of_all(Transport& transport, std::size_t number);

/// Collective. Whether it is so on one rank or more.
bool on_any_rank(Transport& transport, bool here);

/// Collective. Rank 0's text, on every rank.
std::string text_of_rank_zero(Transport& transport, std::string text);

} // namespace sluice
