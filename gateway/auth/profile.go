// Looking after users: their own profile, and what operators do for them.
package auth

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	"stampede/actors/account"
	"stampede/proto/gen/accountpb"
	"stampede/proto/gen/commonpb"
)

// Get is the user; refused with NOT_FOUND when there is none.
func (a *Accounts) Get(ctx context.Context, userID string) (*accountpb.User, *commonpb.Refusal, error) {
	return a.ofUser(ctx, userID, &accountpb.Get{})
}

// UpdateProfile changes what is given. ifVersion 0: whatever the version is.
func (a *Accounts) UpdateProfile(ctx context.Context, userID string, name *string, ifVersion int64) (*accountpb.User, *commonpb.Refusal, error) {
	return a.ofUser(ctx, userID, &accountpb.UpdateProfile{Name: name, IfVersion: ifVersion})
}

// SetRoles replaces the user's roles on behalf of `by`, who must be an operator
// at this moment (empty: the program itself); CUSTOMER is always among them.
// Access tokens that are out keep the roles that they name until they expire:
// 15 minutes at most. They do not give their holder a role or an API key.
func (a *Accounts) SetRoles(ctx context.Context, by, userID string, roles []accountpb.Role) (*accountpb.User, *commonpb.Refusal, error) {
	if _, ok := account.IDBytes(userID); by != "" && ok {
		still, err := a.IsOperator(ctx, by)
		if err != nil {
			return nil, nil, err
		}
		if !still {
			return nil, noOperator(), nil
		}
	}
	return a.ofUser(ctx, userID, &accountpb.SetRoles{Roles: roles, Actor: &commonpb.Actor{UserId: by, Staff: true}})
}

// EnsureAdmin makes an operator, or makes an operator of the user that has the
// address; that one's password stays as it is. Running it again changes nothing.
func (a *Accounts) EnsureAdmin(ctx context.Context, email, password string) (*accountpb.User, *commonpb.Refusal, error) {
	email, r := normalise(email)
	if r != nil {
		return nil, r, nil
	}
	id := account.ID(a.secret, email)
	_, r, err := a.Get(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	if r.GetReason() == commonpb.Reason_REASON_NOT_FOUND {
		_, r, err = a.registerAdmin(ctx, id, email, password)
		if r.GetReason() == commonpb.Reason_REASON_EMAIL_TAKEN { // another node was first
			_, r, err = a.Get(ctx, id)
		}
	}
	if r != nil || err != nil {
		return nil, r, err
	}
	// Also if they are one: it makes sure that they are counted among the operators.
	return a.SetRoles(ctx, "", id, adminRoles())
}

func (a *Accounts) registerAdmin(ctx context.Context, id, email, password string) (*accountpb.User, *commonpb.Refusal, error) {
	if r := checkPassword(password, email, "password"); r != nil {
		return nil, r, nil
	}
	hash, err := a.passwords.Hash(ctx, password)
	if err != nil {
		return nil, nil, fmt.Errorf("make operator: %w", err)
	}
	return a.user(ctx, id, &accountpb.Register{Email: email, PasswordHash: hash, Roles: adminRoles()})
}

func adminRoles() []accountpb.Role {
	return []accountpb.Role{accountpb.Role_ROLE_CUSTOMER, accountpb.Role_ROLE_STAFF, accountpb.Role_ROLE_OPERATOR}
}

// ofUser sends a command to the account that a caller named: what is not of an
// id's form reaches no actor.
func (a *Accounts) ofUser(ctx context.Context, userID string, cmd proto.Message) (*accountpb.User, *commonpb.Refusal, error) {
	if _, ok := account.IDBytes(userID); !ok {
		return nil, refusal(commonpb.Reason_REASON_NOT_FOUND, "there is no such user", "userId"), nil
	}
	return a.user(ctx, userID, cmd)
}
