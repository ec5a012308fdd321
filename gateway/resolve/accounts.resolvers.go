package resolve

import (
	"context"
	"time"

	"stampede/gateway/graph"
	"stampede/persistence"
	"stampede/proto/gen/commonpb"
)

func (r *mutationResolver) RegisterUser(ctx context.Context, input graph.RegisterUserInput) (*graph.AuthPayload, error) {
	var bad problems
	bad.email(input.Email)
	bad.newPassword(input.Password, "password")
	bad.personName(input.Name)
	if bad != nil {
		return &graph.AuthPayload{UserErrors: bad}, nil
	}
	if refusal := r.addresses.Register(addressOf(ctx), r.Clock()); refusal != nil {
		return authPayload(nil, refusal, nil)
	}
	session, refusal, err := r.Accounts.Register(ctx, input.Email, input.Password, deref(input.Name))
	return authPayload(session, refusal, err)
}

func (r *mutationResolver) LogIn(ctx context.Context, input graph.LogInInput) (*graph.AuthPayload, error) {
	var bad problems
	bad.email(input.Email)
	bad.oldPassword(input.Password, "password")
	if bad != nil {
		return &graph.AuthPayload{UserErrors: bad}, nil
	}
	failed, refusal := r.addresses.LogIn(addressOf(ctx), r.Clock())
	if refusal != nil {
		return authPayload(nil, refusal, nil)
	}
	session, refusal, err := r.Accounts.LogIn(ctx, input.Email, input.Password)
	failed(refusal.GetReason() == commonpb.Reason_REASON_BAD_CREDENTIALS)
	return authPayload(session, refusal, err)
}

func (r *mutationResolver) RefreshTokens(ctx context.Context, input graph.RefreshTokensInput) (*graph.AuthPayload, error) {
	var bad problems
	bad.refreshToken(input.RefreshToken)
	if bad != nil {
		return &graph.AuthPayload{UserErrors: bad}, nil
	}
	session, refusal, err := r.Accounts.Refresh(ctx, input.RefreshToken)
	return authPayload(session, refusal, err)
}

func (r *mutationResolver) LogOut(ctx context.Context, input graph.LogOutInput) (*graph.AuthPayload, error) {
	var bad problems
	bad.refreshToken(input.RefreshToken)
	if bad != nil {
		return &graph.AuthPayload{UserErrors: bad}, nil
	}
	refusal, err := r.Accounts.LogOut(ctx, input.RefreshToken, deref(input.Everywhere))
	return authPayload(nil, refusal, err)
}

func (r *mutationResolver) UpdateProfile(ctx context.Context, input graph.UpdateProfileInput) (*graph.UserPayload, error) {
	v, err := viewerOf(ctx)
	if err != nil {
		return nil, err
	}
	var bad problems
	bad.personName(input.Name)
	version := bad.version(input.IfVersion)
	if bad != nil {
		return &graph.UserPayload{UserErrors: bad}, nil
	}
	user, refusal, err := r.Accounts.UpdateProfile(ctx, v.ID, input.Name, version)
	return userPayload(user, refusal, err)
}

func (r *mutationResolver) ChangePassword(ctx context.Context, input graph.ChangePasswordInput) (*graph.AuthPayload, error) {
	v, err := viewerOf(ctx)
	if err != nil {
		return nil, err
	}
	var bad problems
	bad.oldPassword(input.Current, "current")
	bad.newPassword(input.New, "new")
	if bad != nil {
		return &graph.AuthPayload{UserErrors: bad}, nil
	}
	session, refusal, err := r.Accounts.ChangePassword(ctx, v.ID, input.Current, input.New)
	return authPayload(session, refusal, err)
}

func (r *mutationResolver) SetRoles(ctx context.Context, input graph.SetRolesInput) (*graph.UserPayload, error) {
	v, err := viewerOf(ctx)
	if err != nil {
		return nil, err
	}
	var bad problems
	bad.id(input.UserID, userPrefix, "userId")
	bad.require(len(input.Roles) > 0 && len(input.Roles) <= maxRolesSent, "must name at least one role, each once", "roles")
	if bad != nil {
		return &graph.UserPayload{UserErrors: bad}, nil
	}
	user, refusal, err := r.Accounts.SetRoles(ctx, v.ID, input.UserID, rolesOf(input.Roles))
	return userPayload(user, refusal, err)
}

func (r *mutationResolver) CreateAPIKey(ctx context.Context, input graph.CreateAPIKeyInput) (*graph.APIKeyPayload, error) {
	v, err := viewerOf(ctx)
	if err != nil {
		return nil, err
	}
	var bad problems
	bad.apiKeyName(input.Name)
	bad.require(len(input.Roles) > 0 && len(input.Roles) <= maxRolesSent, "must name at least one role, each once", "roles")
	expires := time.Time{}
	if input.ExpiresAt != nil {
		expires = time.UnixMilli(int64(*input.ExpiresAt))
		bad.require(expires.After(r.Clock()), "must be in the future; leave it out for a key that does not expire", "expiresAt")
	}
	if bad != nil {
		return &graph.APIKeyPayload{UserErrors: bad}, nil
	}
	keys, err := r.apiKeys(ctx)
	if err != nil {
		return apiKeyPayload(nil, nil, err)
	}
	if len(keys) >= maxAPIKeys {
		return apiKeyPayload(nil, &commonpb.Refusal{Reason: commonpb.Reason_REASON_CONFLICT, Message: "there are 1,000 API keys: revoke those that nobody uses"}, nil)
	}
	key, secret, refusal, err := r.Accounts.CreateAPIKey(ctx, v.ID, input.Name, rolesOf(input.Roles), expires)
	payload, err := apiKeyPayload(key, refusal, err)
	if err == nil && payload.APIKey != nil {
		payload.Secret = &secret
	}
	return payload, err
}

func (r *mutationResolver) RevokeAPIKey(ctx context.Context, input graph.RevokeAPIKeyInput) (*graph.APIKeyPayload, error) {
	v, err := viewerOf(ctx)
	if err != nil {
		return nil, err
	}
	var bad problems
	bad.id(input.ID, apiKeyPrefix, "id")
	if bad != nil {
		return &graph.APIKeyPayload{UserErrors: bad}, nil
	}
	return apiKeyPayload(r.Accounts.RevokeAPIKey(ctx, v.ID, input.ID))
}

func (r *queryResolver) Me(ctx context.Context) (*graph.User, error) {
	v, err := viewerOf(ctx)
	if err != nil {
		return nil, err
	}
	return r.user(ctx, v, v.ID)
}

func (r *queryResolver) User(ctx context.Context, id string) (*graph.User, error) {
	v, err := viewerOf(ctx)
	if err != nil {
		return nil, err
	}
	if err := checkID(id, userPrefix); err != nil {
		return nil, err
	}
	return r.user(ctx, v, id)
}

func (r *queryResolver) Users(ctx context.Context, first *int32, after *string) (*graph.UserConnection, error) {
	p, err := placeOf(first, after, userPrefix)
	if err != nil {
		return nil, err
	}
	return r.users(ctx, p)
}

func (r *queryResolver) APIKeys(ctx context.Context) ([]graph.APIKey, error) {
	v, err := viewerOf(ctx)
	if err != nil {
		return nil, err
	}
	if err := r.operatorNow(ctx, v); err != nil {
		return nil, err
	}
	return r.apiKeys(ctx)
}

func (r *userResolver) Orders(ctx context.Context, obj *graph.User, first *int32, after *string, state *graph.OrderState) (*graph.OrderConnection, error) {
	p, err := placeOf(first, after, orderPrefix)
	if err != nil {
		return nil, err
	}
	return r.orders(ctx, persistence.ListQuery{Owner: obj.ID, State: string(deref(state))}, p)
}

func (r *Resolver) Mutation() graph.MutationResolver { return &mutationResolver{r} }

func (r *Resolver) User() graph.UserResolver { return &userResolver{r} }

type (
	mutationResolver struct{ *Resolver }
	userResolver     struct{ *Resolver }
)
